"""What was asked never changes, and what was decided stays: an approval is evidence for ever."""

from django.db import migrations

STAYS = """
CREATE FUNCTION qm_decided_stays() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        RAISE EXCEPTION 'changes that were asked for are never deleted'
            USING ERRCODE = 'restrict_violation';
    END IF;
    IF OLD.state <> 'waiting' THEN
        RAISE EXCEPTION 'a change that was decided stays as it is'
            USING ERRCODE = 'restrict_violation';
    END IF;
    IF (NEW.kind, NEW.target_id, NEW.payload, NEW.digest, NEW.requester_id, NEW.created_at)
        IS DISTINCT FROM
        (OLD.kind, OLD.target_id, OLD.payload, OLD.digest, OLD.requester_id, OLD.created_at)
    THEN
        RAISE EXCEPTION 'what was asked for never changes' USING ERRCODE = 'restrict_violation';
    END IF;
    IF NEW.state IN ('approved', 'rejected') AND NEW.decider_id IS NULL THEN
        RAISE EXCEPTION 'a person decides' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER decided_stays BEFORE UPDATE OR DELETE ON change_request
FOR EACH ROW EXECUTE FUNCTION qm_decided_stays();
DO $$
BEGIN
    EXECUTE format('ALTER FUNCTION qm_decided_stays() SET search_path = %I, pg_temp',
        current_schema());
END $$;
"""
UNDO = """
DROP TRIGGER decided_stays ON change_request;
DROP FUNCTION qm_decided_stays();
"""


class Migration(migrations.Migration):
    dependencies = [("tenants", "0013_secrets_of_sources")]

    operations = [migrations.RunSQL(STAYS, UNDO)]
