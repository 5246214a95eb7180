from django.db import migrations

from tenants.base.rls import AppendOnly


class Migration(migrations.Migration):
    dependencies = [("fleet", "0066_rollout_sequences")]

    operations = [AppendOnly("sequence_event")]
