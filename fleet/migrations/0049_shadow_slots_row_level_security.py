from django.db import migrations

from tenants.base.rls import EnableRLS


class Migration(migrations.Migration):
    dependencies = [("fleet", "0048_shadow_slots")]

    operations = [EnableRLS("shadow_slot"), EnableRLS("shadow_latency_slot")]
