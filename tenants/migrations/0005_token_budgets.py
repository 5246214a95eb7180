from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("tenants", "0004_one_time_password")]

    operations = [
        migrations.AddField(
            model_name="quota",
            name=name,
            field=models.PositiveBigIntegerField(blank=True, null=True),
        )
        for name in ("monthly_input_tokens", "monthly_output_tokens", "monthly_tokens")
    ]
