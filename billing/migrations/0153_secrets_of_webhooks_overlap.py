"""The secret of a webhook that was renewed signs beside the new one for a while."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("billing", "0152_numbers_of_a_second_issuer")]

    operations = [
        migrations.AddField(
            model_name="webhook",
            name="previous",
            field=models.BinaryField(null=True),
        ),
        migrations.AddField(
            model_name="webhook",
            name="previous_until",
            field=models.DateTimeField(null=True),
        ),
    ]
