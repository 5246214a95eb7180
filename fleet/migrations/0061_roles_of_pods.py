from django.db import migrations, models


class Migration(migrations.Migration):
    """Which part of a replica a pod is, as its label says."""

    dependencies = [("fleet", "0060_roles_of_releases")]
    operations = [
        migrations.AddField(
            model_name="observedpod",
            name="role",
            field=models.CharField(default="serve", db_default="serve", max_length=16),
        ),
    ]
