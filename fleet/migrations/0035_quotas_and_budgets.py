from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("fleet", "0034_gpu_product_of_starts")]

    operations = [
        migrations.AddField(model_name="cluster", name="quotas", field=models.JSONField(null=True)),
        migrations.AddField(
            model_name="cluster", name="budgets", field=models.JSONField(null=True)
        ),
    ]
