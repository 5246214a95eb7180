from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("fleet", "0091_gpus_of_the_last_look")]

    operations = [
        migrations.AddField(
            "cluster",
            "provider",
            models.CharField(blank=True, db_default="", default="", max_length=63),
        ),
    ]
