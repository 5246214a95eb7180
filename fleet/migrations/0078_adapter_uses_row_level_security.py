from django.db import migrations

from tenants.base.rls import EnableRLS


class Migration(migrations.Migration):
    dependencies = [("fleet", "0077_adapter_uses")]

    operations = [EnableRLS("adapter_use")]
