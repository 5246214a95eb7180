from decimal import Decimal

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("billing", "0070_releases_of_hours")]

    operations = [
        migrations.AddField(model, name, field)
        for model in ("allocation", "costday")
        for name, field in (
            ("release", models.CharField(db_default="", max_length=32)),
            (
                "saved",
                models.DecimalField(db_default=Decimal(0), decimal_places=12, max_digits=38),
            ),
        )
    ]
