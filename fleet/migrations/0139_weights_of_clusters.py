from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("fleet", "0134_room_in_slots")]

    operations = [
        migrations.AddField(
            model_name="cluster",
            name="weights_cache",
            field=models.CharField(blank=True, db_default="", default="", max_length=253),
        ),
        migrations.AddField(
            model_name="cluster",
            name="weights_secret",
            field=models.CharField(blank=True, db_default="", default="", max_length=253),
        ),
    ]
