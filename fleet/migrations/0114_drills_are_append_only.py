from django.db import migrations

from tenants.base.rls import AppendOnly


class Migration(migrations.Migration):
    dependencies = [("fleet", "0113_drills")]

    operations = [AppendOnly("drill"), AppendOnly("drill_report")]
