"""Entries of credits come with what they are about, and a period begins open.

And every trigger of ours looks at the tables of the schema alone: a temporary table of the same
name, which the application may make, came first before and was empty.
"""

from django.db import migrations

SPENT = """
CREATE OR REPLACE FUNCTION qm_credit_spent_once() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE scope text := coalesce(current_setting('app.fleet', true), '');
BEGIN
    PERFORM set_config('app.fleet', 'on', true);
    -- One transaction after the other adds entries to a grant, so that the sum is of all of them.
    PERFORM 1 FROM credit_grant WHERE id IN (SELECT grant_id FROM added)
        ORDER BY id FOR NO KEY UPDATE;
    IF EXISTS (
        SELECT 1 FROM credit_entry WHERE grant_id IN (SELECT grant_id FROM added)
        GROUP BY grant_id HAVING sum(amount) < 0
    ) OR EXISTS (
        SELECT 1 FROM added a JOIN credit_grant g ON g.id = a.grant_id
        WHERE a.tenant_id <> g.tenant_id OR a.kind = 'granted' AND a.amount <> g.amount
            OR a.kind NOT IN ('granted', 'undone') AND a.amount > 0
    ) OR EXISTS (
        SELECT 1 FROM added a JOIN credit_grant g ON g.id = a.grant_id
        WHERE a.kind = 'undone' AND (a.amount <= 0 OR a.note_id IS NULL OR g.state <> 'active')
    ) OR EXISTS (
        SELECT 1 FROM credit_entry e WHERE e.kind IN ('used', 'undone')
            AND (e.grant_id, e.line_id) IN (SELECT grant_id, line_id FROM added)
        GROUP BY e.grant_id, e.line_id HAVING sum(e.amount) > 0
    )%(more)s THEN
        RAISE EXCEPTION 'a credit is spent once, up to what was granted'
            USING ERRCODE = 'check_violation';
    END IF;
    PERFORM set_config('app.fleet', scope, true);
    RETURN NULL;
END $$;
"""
BY_DOCUMENTS = """ OR EXISTS (
        SELECT 1 FROM added a JOIN credit_grant g ON g.id = a.grant_id
        LEFT JOIN invoice i ON i.id = a.invoice_id AND i.tenant_id = a.tenant_id
        LEFT JOIN invoice_line l ON l.id = a.line_id AND l.invoice_id = i.id
        LEFT JOIN credit_note n ON n.id = a.note_id AND n.invoice_id = i.id
        WHERE NOT coalesce(CASE a.kind
            WHEN 'granted' THEN g.state = 'active'
            WHEN 'used' THEN g.state = 'active' AND l.id IS NOT NULL AND qm_made_now(i.xmin)
            WHEN 'undone' THEN l.id IS NOT NULL AND qm_made_now(n.xmin)
            WHEN 'expired' THEN g.state = 'expired' AND g.expires_at IS NOT NULL
        END, false)
    )"""
CAPPED = """
CREATE OR REPLACE FUNCTION qm_credits_capped() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE scope text := coalesce(current_setting('app.fleet', true), '');
BEGIN
    PERFORM set_config('app.fleet', 'on', true);
    IF EXISTS (
        SELECT 1 FROM invoice_line l JOIN credit_note_line c ON c.line_id = l.id
        WHERE l.id IN (SELECT line_id FROM added)
        GROUP BY l.id, l.amount HAVING sum(%(given)s) > l.amount
    ) OR EXISTS (
        SELECT 1 FROM credit_note n JOIN credit_note_line c ON c.note_id = n.id
        WHERE n.id IN (SELECT note_id FROM added)
        GROUP BY n.id, n.net HAVING sum(c.amount) <> n.net
    )%(more)s THEN
        RAISE EXCEPTION 'a credit note gives back at most its lines, and all that it says'
            USING ERRCODE = 'check_violation';
    END IF;
    PERFORM set_config('app.fleet', scope, true);
    RETURN NULL;
END $$;
"""
# Notes of one invoice are weighed one after the other, so that the sum is of all of them.
OF_INVOICE = """ OR EXISTS (
        SELECT 1 FROM invoice i JOIN credit_note n ON n.invoice_id = i.id
        WHERE i.id IN (SELECT o.invoice_id FROM credit_note o JOIN added a ON a.note_id = o.id)
        GROUP BY i.id, i.net, i.tax HAVING sum(n.net) > i.net OR sum(n.total) > i.net + i.tax
    )"""
PERIODS = """
CREATE FUNCTION qm_period_begins() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.state <> 'open' OR NEW.cut_off IS NOT NULL OR NEW.closed_at IS NOT NULL
        OR NEW.reopened_by_change <> 0
    THEN
        RAISE EXCEPTION 'a billing period begins open' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER begins_open AFTER INSERT ON billing_period
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION qm_period_begins();
"""
UNDO_PERIODS = """
DROP TRIGGER begins_open ON billing_period;
DROP FUNCTION qm_period_begins();
"""
# A function that looks at no table needs none: one of these is made again by later migrations.
OF_THE_SCHEMA = """
DO $$
DECLARE
    made regprocedure;
BEGIN
    FOR made IN SELECT p.oid FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
        WHERE p.pronamespace = current_schema()::regnamespace AND l.lanname = 'plpgsql'
        AND p.prorettype = 'trigger'::regtype AND p.proname <> 'qm_append_only'
    LOOP
        EXECUTE format('ALTER FUNCTION %s SET search_path = %I, pg_temp', made, current_schema());
    END LOOP;
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [("billing", "0122_documents_are_whole")]

    operations = [
        migrations.RunSQL(SPENT % {"more": BY_DOCUMENTS}, SPENT % {"more": ""}),
        migrations.RunSQL(
            CAPPED % {"given": "c.amount + c.promoted", "more": OF_INVOICE},
            CAPPED % {"given": "c.amount", "more": ""},
        ),
        migrations.RunSQL(PERIODS, UNDO_PERIODS),
        migrations.RunSQL(OF_THE_SCHEMA, migrations.RunSQL.noop),
    ]
