"""No part of requests is dropped within 3 months of its end, by the clock of the database.

Whoever drops one has to have it written down first, which the owner's function does: a worker with
a wrong clock, or a statement of the application's role, gets no younger part past this.
"""

from django.db import migrations

REFUSE = """
CREATE FUNCTION qm_part_is_old() RETURNS trigger LANGUAGE plpgsql SET timezone = 'UTC' AS $$
BEGIN
    IF NEW.ends_at + interval '3 months' > now() THEN
        RAISE EXCEPTION 'requests are kept for 3 months at least, and % ends at %',
            NEW.part, NEW.ends_at USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER is_old BEFORE INSERT ON usage_part_dropped
FOR EACH ROW EXECUTE FUNCTION qm_part_is_old();
DO $$
BEGIN
    EXECUTE format('ALTER FUNCTION qm_part_is_old() SET search_path = %I, pg_temp', current_schema());
END $$;
"""
UNDO = """
DROP TRIGGER is_old ON usage_part_dropped;
DROP FUNCTION qm_part_is_old();
"""


class Migration(migrations.Migration):
    dependencies = [("billing", "0131_drops_name_files")]

    operations = [migrations.RunSQL(REFUSE, UNDO)]
