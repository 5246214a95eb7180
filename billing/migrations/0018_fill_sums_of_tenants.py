from django.db import migrations

from tenants.base.rls import EnableRLS

# The owner's role is bound by row level security as well, so it asks for the fleet first.
FILL = """
SELECT set_config('app.fleet', 'on', true);
INSERT INTO charge_sum (day, tenant_id, currency, amount)
SELECT day, tenant_id, currency, sum(amount) FROM charge_total GROUP BY 1, 2, 3;
"""


class Migration(migrations.Migration):
    dependencies = [("billing", "0017_sums_of_tenants")]

    operations = [
        EnableRLS("charge_sum"),
        migrations.RunSQL(FILL, migrations.RunSQL.noop),
    ]
