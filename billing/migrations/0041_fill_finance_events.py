"""What was told of budgets so far, as events with the number of their alert."""

from django.db import migrations

# The owner's role is bound by row level security as well, so it asks for the fleet first. Rows of
# alerts are written once; here they get a column that they did not have.
FILL = """
SELECT set_config('app.fleet', 'on', true);
ALTER TABLE budget_alert DISABLE TRIGGER append_only;
INSERT INTO finance_event (id, tenant_id, kind, subject, payload, at)
SELECT id, tenant_id, 'budget.threshold_reached', threshold || ' % in ' || period, payload, at
FROM budget_alert;
SELECT setval(pg_get_serial_sequence('finance_event', 'id'), coalesce(max(id), 0) + 1, false)
FROM finance_event;
UPDATE budget_alert SET event_id = id;
UPDATE event_delivery SET event_id = alert_id;
UPDATE webhook SET kinds = '{budget.threshold_reached}';
SET CONSTRAINTS ALL IMMEDIATE;
ALTER TABLE budget_alert ENABLE TRIGGER append_only;
"""


class Migration(migrations.Migration):
    dependencies = [("billing", "0040_finance_events")]

    operations = [migrations.RunSQL(FILL, migrations.RunSQL.noop)]
