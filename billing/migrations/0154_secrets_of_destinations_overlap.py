"""The secret of a receiver of exports that was renewed signs beside the new one for a while."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("billing", "0153_secrets_of_webhooks_overlap")]

    operations = [
        migrations.AddField(
            model_name="exportdestination",
            name="previous",
            field=models.BinaryField(null=True),
        ),
        migrations.AddField(
            model_name="exportdestination",
            name="previous_until",
            field=models.DateTimeField(null=True),
        ),
    ]
