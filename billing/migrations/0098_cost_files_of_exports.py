"""The fleet's cost as files. Names of formats are the code's: nothing is done in the database."""

from django.db import migrations, models

FORMATS = (
    *("csv", "focus-1.4", "focus-1.3", "focus-1.2"),
    *("focus-1.4-billing-period", "focus-1.4-invoice-detail"),
    *("focus-1.4-cost", "focus-1.3-cost", "focus-1.2-cost", "chargeback", "ledger"),
)


class Migration(migrations.Migration):
    dependencies = [("billing", "0097_rhythms_of_schedules")]

    operations = [
        migrations.AlterField(
            model, "format", models.CharField(choices=[(f, f) for f in FORMATS], max_length=32)
        )
        for model in ("exportjob", "exportschedule")
    ]
