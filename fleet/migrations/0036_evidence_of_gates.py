from django.db import migrations, models


class Migration(migrations.Migration):
    """Error rate, number of tests and queries of each look of a gate."""

    dependencies = [("fleet", "0035_quotas_and_budgets")]

    operations = [
        migrations.AddField(
            model_name="gateresult",
            name="evidence",
            field=models.JSONField(default=dict),
        ),
    ]
