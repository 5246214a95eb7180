from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("fleet", "0139_weights_of_clusters")]

    operations = [
        migrations.AddField(
            model_name="rolloutfetch",
            name="told",
            field=models.TextField(blank=True, db_default=""),
        ),
    ]
