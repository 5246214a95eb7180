from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("fleet", "0033_plan_kinds")]

    operations = [
        migrations.AddField(
            model_name="startsample",
            name="gpu_product",
            field=models.CharField(blank=True, default="", max_length=120),
            preserve_default=False,
        ),
    ]
