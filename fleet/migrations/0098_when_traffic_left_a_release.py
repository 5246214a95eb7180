from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("fleet", "0097_answers_of_rollouts_row_level_security")]

    operations = [
        migrations.AddField("rollout", "old_left_at", models.DateTimeField(null=True)),
        migrations.AddField("rollout", "new_left_at", models.DateTimeField(null=True)),
    ]
