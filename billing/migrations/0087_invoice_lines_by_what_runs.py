from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("billing", "0086_prices_by_what_runs")]

    operations = [
        migrations.AddField(
            "invoiceline",
            "runs_on",
            models.CharField(blank=True, db_default="", default="", max_length=120),
        ),
        # Longer names hold all parts; a longer varchar rewrites nothing.
        migrations.AlterField("invoiceline", "name", models.CharField(max_length=320)),
    ]
