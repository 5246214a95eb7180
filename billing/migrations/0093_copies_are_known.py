"""An id of an answer that a shadow gave has no event: who compares both must know it."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("billing", "0087_invoice_lines_by_what_runs")]

    operations = [
        migrations.AddField(
            "UsageSeen", "is_copy", models.BooleanField(db_default=False, default=False)
        )
    ]
