"""Who closed a period, when, and with which cut-off stays while it is closed."""

from django.db import migrations

STAYS = """
CREATE FUNCTION qm_close_stays() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.state = 'closed' AND NEW.state = 'closed' AND (NEW.cut_off, NEW.closed_at, NEW.closed_by)
        IS DISTINCT FROM (OLD.cut_off, OLD.closed_at, OLD.closed_by)
    THEN
        RAISE EXCEPTION 'who closed a billing period, and when, never changes'
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER close_stays BEFORE UPDATE ON billing_period
FOR EACH ROW EXECUTE FUNCTION qm_close_stays();
DO $$
BEGIN
    EXECUTE format('ALTER FUNCTION qm_close_stays() SET search_path = %I, pg_temp',
        current_schema());
END $$;
"""
UNDO = """
DROP TRIGGER close_stays ON billing_period;
DROP FUNCTION qm_close_stays();
"""


class Migration(migrations.Migration):
    dependencies = [("billing", "0124_last_change_of_periods")]

    operations = [migrations.RunSQL(STAYS, UNDO)]
