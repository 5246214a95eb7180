from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("fleet", "0107_logs_of_rollouts")]

    operations = [migrations.AddField("rollout", "closed_at", models.DateTimeField(null=True))]
