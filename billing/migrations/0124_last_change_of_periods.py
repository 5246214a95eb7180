"""When a period changed last: opening it again forgets its cut-off, and time went back in files."""

from django.db import migrations, models

STAYS = """
CREATE FUNCTION qm_last_change_stays() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.changed_at := greatest(OLD.changed_at, OLD.cut_off, OLD.closed_at,
        NEW.changed_at, NEW.cut_off, NEW.closed_at);
    RETURN NEW;
END $$;
CREATE TRIGGER last_change_stays BEFORE UPDATE ON billing_period
FOR EACH ROW EXECUTE FUNCTION qm_last_change_stays();
DO $$
BEGIN
    EXECUTE format('ALTER FUNCTION qm_last_change_stays() SET search_path = %I, pg_temp',
        current_schema());
END $$;
"""
UNDO = """
DROP TRIGGER last_change_stays ON billing_period;
DROP FUNCTION qm_last_change_stays();
"""


class Migration(migrations.Migration):
    dependencies = [("billing", "0123_credits_are_spent_by_documents")]

    operations = [
        migrations.AddField("billingperiod", "changed_at", models.DateTimeField(null=True)),
        migrations.RunSQL(STAYS, UNDO),
    ]
