"""A threshold is told once for each limit that a budget had in a month."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("billing", "0150_where_deliveries_went")]

    operations = [
        migrations.RemoveConstraint(model_name="budgetalert", name="budget_alert_once"),
        migrations.AddConstraint(
            model_name="budgetalert",
            constraint=models.UniqueConstraint(
                fields=("series", "kind", "period", "threshold", "budget"),
                name="budget_alert_once",
            ),
        ),
    ]
