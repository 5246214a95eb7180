from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("billing", "0035_buckets")]

    operations = [
        migrations.AddField(
            model_name="budgetalert",
            name="kind",
            field=models.CharField(default="money", max_length=13),
        ),
        migrations.RemoveConstraint(model_name="budgetalert", name="budget_alert_once"),
        migrations.AddConstraint(
            model_name="budgetalert",
            constraint=models.UniqueConstraint(
                fields=("series", "kind", "period", "threshold"), name="budget_alert_once"
            ),
        ),
    ]
