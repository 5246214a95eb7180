from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("tenants", "0014_decided_stays")]

    operations = [
        migrations.AddField(
            model_name="idempotencyrecord",
            name="held_until",
            field=models.DateTimeField(null=True),
        ),
    ]
