from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("fleet", "0146_stops_of_sequences")]

    operations = [
        migrations.AddField(
            model_name="sequencestage",
            name="refused_since",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="rolloutsequence",
            name="stuck_told",
            field=models.DateTimeField(null=True),
        ),
    ]
