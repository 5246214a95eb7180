from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("fleet", "0116_slots_of_applications_row_level_security"),
    ]

    operations = [
        migrations.AddField(
            model_name="rolloutsequence",
            name="limits",
            field=models.JSONField(db_default={}, default=dict),
        ),
    ]
