"""What was attributed and what a check found stays as it is; only marks of it may change."""

from django.db import migrations

KEPT = """
CREATE FUNCTION qm_attributed_stays() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        RAISE EXCEPTION 'runs of attribution are never deleted' USING ERRCODE = 'restrict_violation';
    END IF;
    -- The mark of the current run is taken away, never given; the time says when it was looked at.
    IF (NEW.id, NEW.hour, NEW.method, NEW.currency, NEW.sheet_id, NEW.cost, NEW.gpu_ms,
            NEW.input_sha)
        IS DISTINCT FROM (OLD.id, OLD.hour, OLD.method, OLD.currency, OLD.sheet_id, OLD.cost,
            OLD.gpu_ms, OLD.input_sha)
        OR NEW.is_current AND NOT OLD.is_current
    THEN
        RAISE EXCEPTION 'a run of attribution never changes' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER attributed_stays BEFORE UPDATE OR DELETE ON allocation_run
FOR EACH ROW EXECUTE FUNCTION qm_attributed_stays();

CREATE FUNCTION qm_found_stays() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' OR OLD.state = 'done' THEN
        RAISE EXCEPTION 'what a check of the books found stays'
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER found_stays BEFORE UPDATE OR DELETE ON reconciliation
FOR EACH ROW EXECUTE FUNCTION qm_found_stays();
"""
UNDO = """
DROP TRIGGER found_stays ON reconciliation;
DROP FUNCTION qm_found_stays();
DROP TRIGGER attributed_stays ON allocation_run;
DROP FUNCTION qm_attributed_stays();
"""


class Migration(migrations.Migration):
    dependencies = [("billing", "0094_reconciliations")]

    operations = [migrations.RunSQL(KEPT, UNDO)]
