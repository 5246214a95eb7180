from django.db import migrations

from tenants.base.rls import AppendOnly, EnableRLS


class Migration(migrations.Migration):
    dependencies = [("fleet", "0001_initial")]

    operations = [
        EnableRLS("traffic_slot"),
        EnableRLS("latency_slot"),
        EnableRLS("finding"),
        AppendOnly("release"),
        AppendOnly("rollout_event"),
        AppendOnly("gate_result"),
    ]
