from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("fleet", "0142_no_calls_of_sequences")]

    operations = [
        migrations.AddField(
            model_name="sequencestage",
            name="begins_from",
            field=models.DateTimeField(null=True),
        ),
    ]
