"""Workers ask for a part to go: the owner's functions keep what was in it, and drop it, in one step.

What a worker cannot say otherwise: no part goes whose periods are not all closed, for which
something waits to be rolled up, or whose sums differ from those of its hours.
"""

from django.db import migrations

from tenants.base.locks import run_briefly

BOUNDS = r"""
CREATE FUNCTION qm_event_part_bounds(part text, OUT relation regclass, OUT starts timestamptz,
    OUT ends timestamptz)
LANGUAGE plpgsql SET timezone = 'UTC' AS $$
BEGIN
    SELECT oid, (regexp_match(bound, 'FROM \(''([^'']+)''\)'))[1]::timestamptz,
        (regexp_match(bound, 'TO \(''([^'']+)''\)'))[1]::timestamptz
    INTO relation, starts, ends
    FROM (
        SELECT c.oid, pg_get_expr(c.relpartbound, c.oid) AS bound
        FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'usage_event'::regclass AND c.relname = part
    ) AS parts WHERE bound <> 'DEFAULT';
    IF relation IS NULL THEN
        RAISE EXCEPTION '% is no part of usage', part USING ERRCODE = 'undefined_table';
    END IF;
    starts := coalesce(starts, '-infinity');
END $$;
"""
# False: it is gone already.
HOLD = """
CREATE FUNCTION qm_hold_event_part(part text) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER
SET lock_timeout = '1s' AS $$
DECLARE
    span record;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('qm_make_event_part'));
    IF NOT EXISTS (SELECT FROM pg_inherits
        WHERE inhparent = 'usage_event'::regclass AND inhrelid = to_regclass(part))
    THEN
        RETURN false;
    END IF;
    SELECT * INTO span FROM qm_event_part_bounds(part);
    EXECUTE format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE', span.relation);
    RETURN true;
END $$;
"""
SUMS = "requests, prompt_tokens, cached_tokens, completion_tokens, gpu_ms"
KEEP = f"""
CREATE FUNCTION qm_keep_event_part(part text, rule text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET lock_timeout = '1s' SET timezone = 'UTC' AS $$
DECLARE
    span record;
BEGIN
    IF current_setting('app.fleet', true) IS DISTINCT FROM 'on' THEN
        RAISE EXCEPTION 'parts have requests of all tenants, and not all are seen'
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    PERFORM qm_hold_event_part(part);
    SELECT * INTO span FROM qm_event_part_bounds(part);
    PERFORM FROM billing_period WHERE starts_at < span.ends AND ends_at > span.starts FOR SHARE;
    IF EXISTS (SELECT FROM billing_period
        WHERE state <> 'closed' AND starts_at < span.ends AND ends_at > span.starts)
    THEN
        RAISE EXCEPTION 'a billing period of % is not closed', part
            USING ERRCODE = 'restrict_violation';
    END IF;
    IF EXISTS (SELECT FROM usage_hour_mark WHERE hour >= span.starts AND hour < span.ends) THEN
        RAISE EXCEPTION 'hours of % wait to be rolled up', part
            USING ERRCODE = 'restrict_violation';
    END IF;
    EXECUTE format($of$
        INSERT INTO usage_day_dropped (tenant_id, day, part, {SUMS}, sha256)
        SELECT tenant_id, (event_time AT TIME ZONE 'UTC')::date, %L, count(*), sum(prompt_tokens),
            sum(cached_tokens), sum(completion_tokens), sum(gpu_ms * gpus),
            encode(sha256(string_agg(sha256(convert_to(json_build_array(request_id, source_id,
                tenant_id, application_id, model, service_id, release, traffic_class, outcome,
                reason, usage_quality, prompt_tokens, cached_tokens, completion_tokens, gpu_ms,
                gpus, gpu_product, hosted, (extract(epoch FROM event_time) * 1000000)::bigint
            )::text, 'UTF8')), ''::bytea ORDER BY event_time, id)), 'hex')
        FROM %s GROUP BY 1, 2
    $of$, part, span.relation);
    EXECUTE format($of$
        INSERT INTO usage_estimate_dropped (tenant_id, hour, service_id, tokens)
        SELECT tenant_id, date_bin('1 hour', event_time, 'epoch'), coalesce(service_id, 0),
            sum(prompt_tokens + completion_tokens)
        FROM %s WHERE usage_quality = 'estimated' GROUP BY 1, 2, 3
    $of$, span.relation);
    IF EXISTS (
        SELECT FROM (
            SELECT tenant_id, day, {SUMS} FROM usage_day_dropped d
            WHERE d.part = qm_keep_event_part.part
        ) AS d FULL JOIN (
            SELECT tenant_id, (hour AT TIME ZONE 'UTC')::date AS day, sum(requests) AS requests,
                sum(prompt_tokens) AS prompt_tokens, sum(cached_tokens) AS cached_tokens,
                sum(completion_tokens) AS completion_tokens, sum(gpu_ms) AS gpu_ms
            FROM usage_hour WHERE hour >= span.starts AND hour < span.ends GROUP BY 1, 2
        ) AS h USING (tenant_id, day)
        WHERE (d.requests, d.prompt_tokens, d.cached_tokens, d.completion_tokens, d.gpu_ms)
            IS DISTINCT FROM
            (h.requests, h.prompt_tokens, h.cached_tokens, h.completion_tokens, h.gpu_ms)
    ) THEN
        RAISE EXCEPTION 'requests of % are not what its hours say', part
            USING ERRCODE = 'restrict_violation';
    END IF;
    INSERT INTO usage_part_dropped (part, starts_at, ends_at, {SUMS}, bytes, sha256, rule)
    SELECT qm_keep_event_part.part, nullif(span.starts, '-infinity'), span.ends,
        coalesce(sum(requests), 0), coalesce(sum(prompt_tokens), 0),
        coalesce(sum(cached_tokens), 0), coalesce(sum(completion_tokens), 0),
        coalesce(sum(gpu_ms), 0), pg_total_relation_size(span.relation),
        encode(sha256(coalesce(string_agg(decode(d.sha256, 'hex'), ''::bytea
            ORDER BY day, tenant_id), ''::bytea)), 'hex'), rule
    FROM usage_day_dropped d WHERE d.part = qm_keep_event_part.part;
END $$;
"""
DROP = """
CREATE FUNCTION qm_drop_event_part(part text) RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET lock_timeout = '250ms' AS $$
DECLARE
    span record;
    there bigint;
BEGIN
    PERFORM qm_hold_event_part(part);
    SELECT * INTO span FROM qm_event_part_bounds(part);
    EXECUTE format('SELECT count(*) FROM %s', span.relation) INTO there;
    IF there IS DISTINCT FROM (
        SELECT requests FROM usage_part_dropped d WHERE d.part = qm_drop_event_part.part
    ) THEN
        RAISE EXCEPTION 'it is not kept what was in %', part USING ERRCODE = 'restrict_violation';
    END IF;
    -- Who comes later waits behind this; who reads now is waited for so long at most.
    EXECUTE format('ALTER TABLE usage_event DETACH PARTITION %s', span.relation);
    EXECUTE format('DROP TABLE %s', span.relation);
END $$;
"""
GONE = """
CREATE FUNCTION qm_day_is_dropped() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT FROM usage_part_dropped
        WHERE NEW.event_time >= coalesce(starts_at, '-infinity') AND NEW.event_time < ends_at
    ) THEN
        RAISE EXCEPTION 'requests of % were dropped, none is added', NEW.event_time
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
"""
PATHS = """
DO $$
DECLARE
    made text;
BEGIN
    FOREACH made IN ARRAY ARRAY['qm_event_part_bounds(text)', 'qm_hold_event_part(text)',
        'qm_keep_event_part(text, text)', 'qm_drop_event_part(text)'] LOOP
        EXECUTE format('ALTER FUNCTION %s SET search_path = %I, pg_temp', made, current_schema());
    END LOOP;
END $$;
"""
TRIGGER = """
CREATE TRIGGER day_is_dropped BEFORE INSERT ON usage_event_default
FOR EACH ROW EXECUTE FUNCTION qm_day_is_dropped()
"""
UNDO = (
    "DROP TRIGGER day_is_dropped ON usage_event_default",
    "DROP FUNCTION qm_day_is_dropped()",
    "DROP FUNCTION qm_drop_event_part(text)",
    "DROP FUNCTION qm_keep_event_part(text, text)",
    "DROP FUNCTION qm_hold_event_part(text)",
    "DROP FUNCTION qm_event_part_bounds(text)",
)


def make(apps, schema_editor):
    run_briefly(schema_editor.connection, [BOUNDS, HOLD, KEEP, DROP, GONE, PATHS, TRIGGER])


def undo(apps, schema_editor):
    run_briefly(schema_editor.connection, UNDO)


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("billing", "0116_usage_that_was_dropped")]

    operations = [migrations.RunPython(make, undo)]
