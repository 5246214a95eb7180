from django.db import migrations

from tenants.base.rls import EnableRLS


class Migration(migrations.Migration):
    dependencies = [("fleet", "0115_slots_of_applications")]

    operations = [EnableRLS("application_slot"), EnableRLS("application_latency_slot")]
