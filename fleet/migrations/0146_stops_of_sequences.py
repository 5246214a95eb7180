from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("fleet", "0145_times_of_stages")]

    operations = [
        migrations.AddField(
            model_name="rolloutsequence",
            name="stop_told",
            field=models.DateTimeField(null=True),
        ),
    ]
