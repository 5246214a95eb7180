"""An id of a delivery may be forgotten once the door refuses its event for being too late anyway.

63 days: the door's 62 and a day. The worker keeps ids longer than that.
"""

from django.db import migrations

FORGOTTEN = """
CREATE FUNCTION qm_seen_stays() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        RAISE EXCEPTION 'an id that was delivered never changes'
            USING ERRCODE = 'restrict_violation';
    END IF;
    IF OLD.seen_at > now() - interval '63 days' THEN
        RAISE EXCEPTION 'an id is kept for as long as its event could be delivered again'
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN OLD;
END $$;
CREATE TRIGGER seen_stays BEFORE UPDATE OR DELETE ON usage_seen
FOR EACH ROW EXECUTE FUNCTION qm_seen_stays();
DROP TRIGGER append_only ON usage_seen;
"""
UNDO = """
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON usage_seen
FOR EACH STATEMENT EXECUTE FUNCTION qm_append_only();
DROP TRIGGER seen_stays ON usage_seen;
DROP FUNCTION qm_seen_stays();
"""


class Migration(migrations.Migration):
    dependencies = [("billing", "0099_inputs_of_rating_runs")]

    operations = [migrations.RunSQL(FORGOTTEN, UNDO)]
