from django.db import migrations

from tenants.base.rls import AppendOnly


class Migration(migrations.Migration):
    dependencies = [("fleet", "0040_resolutions")]

    operations = [AppendOnly("resolution")]
