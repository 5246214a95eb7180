from django.db import migrations, models

FORMATS = (
    *("csv", "focus-1.4", "focus-1.3", "focus-1.2"),
    *("focus-1.4-billing-period", "focus-1.4-invoice-detail", "chargeback", "ledger"),
)


def field():
    return models.CharField(choices=[(name, name) for name in FORMATS], max_length=32)


class Migration(migrations.Migration):
    dependencies = [("billing", "0016_files_of_exports")]

    operations = [
        migrations.AlterField(model_name="exportjob", name="format", field=field()),
        migrations.AlterField(model_name="exportschedule", name="format", field=field()),
    ]
