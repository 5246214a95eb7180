"""Rows of the default part move to the part of their day, a day at a time and all at once.

The day's part is filled beside readers and writers, who see its rows in the default meanwhile. Then
the whole is locked for a moment: what was stored since is moved too, and the part is attached. Who
had chosen parts to read before would otherwise find the rows neither here nor there.
"""

from django.db import migrations

MOVE = """
CREATE FUNCTION qm_default_days() RETURNS TABLE (day date, requests bigint)
LANGUAGE sql STABLE SECURITY DEFINER AS $$
    SELECT (event_time AT TIME ZONE 'UTC')::date, count(*) FROM usage_event_default
    GROUP BY 1 ORDER BY 1
$$;

CREATE FUNCTION qm_move_default_day(day date) RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER
SET lock_timeout = '250ms' SET timezone = 'UTC' AS $$
DECLARE
    part text := 'usage_event_' || to_char(day, 'YYYYMMDD');
    starts timestamptz := day;
    ends timestamptz := day + 1;
    moved bigint := 0;
    stored bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('qm_make_event_part'));
    IF to_regclass(part) IS NOT NULL THEN
        RETURN 0;
    END IF;
    EXECUTE format('CREATE TABLE %I (LIKE usage_event INCLUDING DEFAULTS INCLUDING CONSTRAINTS'
        ' INCLUDING INDEXES INCLUDING STORAGE)', part);
    EXECUTE format('CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON %I'
        ' FOR EACH STATEMENT EXECUTE FUNCTION qm_append_only()', part);
    PERFORM qm_close_part(part::regclass);
    FOR pass IN 1..2 LOOP
        EXECUTE format('WITH moved AS (DELETE FROM usage_event_default'
            ' WHERE event_time >= %L AND event_time < %L RETURNING *)'
            ' INSERT INTO %I SELECT * FROM moved', starts, ends, part);
        GET DIAGNOSTICS stored = ROW_COUNT;
        moved := moved + stored;
        IF pass = 1 THEN
            LOCK TABLE ONLY usage_event IN ACCESS EXCLUSIVE MODE;
        END IF;
    END LOOP;
    EXECUTE format('ALTER TABLE usage_event ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
        part, starts, ends);
    RETURN moved;
END $$;

DO $$
DECLARE
    made text;
BEGIN
    FOREACH made IN ARRAY ARRAY['qm_default_days()', 'qm_move_default_day(date)'] LOOP
        EXECUTE format('ALTER FUNCTION %s SET search_path = %I, pg_temp', made, current_schema());
    END LOOP;
END $$;
"""
UNDO = """
DROP FUNCTION qm_move_default_day(date);
DROP FUNCTION qm_default_days();
"""


class Migration(migrations.Migration):
    dependencies = [("billing", "0117_parts_may_go")]

    operations = [migrations.RunSQL(MOVE, UNDO)]
