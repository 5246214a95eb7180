from django.db import migrations

from tenants.base.rls import EnableRLS

# The owner's role is bound by row level security as well, so it asks for the fleet first.
FILL = """
SELECT set_config('app.fleet', 'on', true);
INSERT INTO charge_total (day, tenant_id, model, currency, amount)
SELECT day, tenant_id, model, currency, sum(amount) FROM charge_day GROUP BY 1, 2, 3, 4;
INSERT INTO usage_day (day, tenant_id, events, prompt_tokens, completion_tokens)
SELECT (hour AT TIME ZONE 'UTC')::date, tenant_id, sum(events), sum(prompt_tokens),
    sum(completion_tokens)
FROM usage_hour_head GROUP BY 1, 2;
"""


class Migration(migrations.Migration):
    dependencies = [("billing", "0005_totals")]

    operations = [
        EnableRLS("charge_total"),
        EnableRLS("usage_day"),
        migrations.RunSQL(FILL, migrations.RunSQL.noop),
    ]
