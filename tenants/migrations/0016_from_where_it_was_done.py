from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("tenants", "0015_claims_that_others_see")]

    operations = [
        migrations.AddField(
            model_name="auditevent",
            name="address",
            field=models.CharField(blank=True, db_default="", default="", max_length=45),
        ),
        migrations.AddField(
            model_name="auditevent",
            name="credential",
            field=models.CharField(blank=True, db_default="", default="", max_length=16),
        ),
    ]
