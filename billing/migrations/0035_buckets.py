from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("billing", "0034_invoices_in_another_currency")]

    operations = [
        migrations.AddField(
            model_name="exportdestination",
            name="region",
            field=models.CharField(blank=True, default="", max_length=32),
        ),
        migrations.AddField(
            model_name="exportdestination",
            name="access_key",
            field=models.CharField(blank=True, default="", max_length=128),
        ),
        migrations.AlterField(
            model_name="exportdestination",
            name="method",
            field=models.CharField(
                choices=[("POST", "POST"), ("PUT", "PUT"), ("S3", "S3")],
                default="POST",
                max_length=4,
            ),
        ),
    ]
