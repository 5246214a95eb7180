from django.db import migrations

from tenants.base.rls import EnableRLS


class Migration(migrations.Migration):
    dependencies = [("fleet", "0085_adapter_slots")]

    operations = [EnableRLS("adapter_slot"), EnableRLS("adapter_latency_slot")]
