from django.db import migrations

from tenants.base.rls import AppendOnly


class Migration(migrations.Migration):
    dependencies = [("fleet", "0044_contract_results")]

    operations = [AppendOnly("output_contract"), AppendOnly("contract_result")]
