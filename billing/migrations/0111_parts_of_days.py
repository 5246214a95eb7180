"""Workers ask for the part of a day: they own no table, so the owner's functions make it.

A part belongs to nobody else, has the whole's indexes and checks, and is empty when it is attached.
A day of which the default has rows already stays there: moving them would hide them meanwhile.
"""

from django.db import migrations

MAKE = """
CREATE FUNCTION qm_make_event_part(day date) RETURNS text LANGUAGE plpgsql SECURITY DEFINER
SET lock_timeout = '1s' SET timezone = 'UTC' AS $$
DECLARE
    part text := 'usage_event_' || to_char(day, 'YYYYMMDD');
    starts timestamptz := day;
    ends timestamptz := day + 1;
BEGIN
    IF day NOT BETWEEN current_date - 62 AND current_date + 31 THEN
        RAISE EXCEPTION 'parts of usage are made for a month ahead and no more'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('qm_make_event_part'));
    IF EXISTS (
        SELECT FROM pg_inherits
        WHERE inhparent = 'usage_event'::regclass AND inhrelid = to_regclass(part)
    ) THEN
        RETURN 'there';
    END IF;
    IF EXISTS (SELECT FROM usage_event_default WHERE event_time >= starts AND event_time < ends)
    THEN
        RETURN 'in default';
    END IF;
    EXECUTE format('CREATE TABLE %I (LIKE usage_event INCLUDING DEFAULTS INCLUDING CONSTRAINTS'
        ' INCLUDING INDEXES INCLUDING STORAGE)', part);
    EXECUTE format('CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON %I'
        ' FOR EACH STATEMENT EXECUTE FUNCTION qm_append_only()', part);
    PERFORM qm_close_part(part::regclass);
    EXECUTE format('ALTER TABLE usage_event ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
        part, starts, ends);
    RETURN 'made';
END $$;

-- Sums of the whole for the planner: PostgreSQL keeps those of parts by itself.
CREATE FUNCTION qm_analyze_events() RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET lock_timeout = '1s' AS $$
BEGIN
    IF current_setting('server_version_num')::int >= 180000 THEN
        ANALYZE ONLY usage_event;
    END IF;
END $$;

DO $$
DECLARE
    made text;
BEGIN
    FOREACH made IN ARRAY ARRAY['qm_make_event_part(date)', 'qm_analyze_events()'] LOOP
        EXECUTE format('ALTER FUNCTION %s SET search_path = %I, pg_temp', made, current_schema());
    END LOOP;
END $$;
"""
UNDO = """
DROP FUNCTION qm_analyze_events();
DROP FUNCTION qm_make_event_part(date);
"""


class Migration(migrations.Migration):
    dependencies = [("billing", "0110_usage_by_day")]

    operations = [migrations.RunSQL(MAKE, UNDO)]
