from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("fleet", "0140_words_of_prefetched_weights")]

    operations = [
        migrations.AddField(
            model_name="sequencestage",
            name="begins_from",
            field=models.DateTimeField(null=True),
        ),
    ]
