from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("fleet", "0148_refusals_of_stages")]

    operations = [
        migrations.AddField(
            model_name="rollout",
            name="hindered_since",
            field=models.DateTimeField(null=True),
        ),
    ]
