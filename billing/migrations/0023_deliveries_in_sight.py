from django.db import migrations

from tenants.base.rls import AppendOnly, EnableRLS


class Migration(migrations.Migration):
    dependencies = [("billing", "0022_deliveries")]

    operations = [
        EnableRLS("export_destination"),
        EnableRLS("export_delivery"),
        EnableRLS("export_attempt"),
        AppendOnly("export_attempt"),
    ]
