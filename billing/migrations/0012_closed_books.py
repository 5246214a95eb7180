from django.db import migrations

from tenants.base.rls import AppendOnly, EnableRLS

# The functions look at all tenants, whatever the transaction may see: a rule that only holds for
# rows in sight is none.
PERIODS = """
ALTER TABLE billing_period ADD CONSTRAINT billing_period_no_overlap
    EXCLUDE USING gist (int8range(tenant_id, tenant_id, '[]') WITH &&,
        tstzrange(starts_at, ends_at) WITH &&);

CREATE FUNCTION qm_period_changes() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE scope text := coalesce(current_setting('app.fleet', true), '');
BEGIN
    PERFORM set_config('app.fleet', 'on', true);
    IF TG_OP = 'DELETE' THEN
        RAISE EXCEPTION 'billing periods are never deleted' USING ERRCODE = 'restrict_violation';
    END IF;
    IF (NEW.tenant_id, NEW.name, NEW.time_zone, NEW.starts_at, NEW.ends_at)
        IS DISTINCT FROM (OLD.tenant_id, OLD.name, OLD.time_zone, OLD.starts_at, OLD.ends_at)
    THEN
        RAISE EXCEPTION 'a billing period never moves' USING ERRCODE = 'restrict_violation';
    END IF;
    IF NEW.state = 'closed' AND OLD.state NOT IN ('closing', 'closed') THEN
        RAISE EXCEPTION 'a billing period closes by way of closing'
            USING ERRCODE = 'restrict_violation';
    END IF;
    IF OLD.state = 'closed' AND NEW.state <> 'closed' AND NOT (
        NEW.reopened_by_change > OLD.reopened_by_change AND EXISTS (
            SELECT 1 FROM change_request WHERE id = NEW.reopened_by_change
            AND kind = 'billing_period' AND target_id = OLD.id AND state = 'approved')
    ) THEN
        RAISE EXCEPTION 'a closed billing period opens by an approved change only'
            USING ERRCODE = 'restrict_violation';
    END IF;
    PERFORM set_config('app.fleet', scope, true);
    RETURN NEW;
END $$;
CREATE TRIGGER closed_stays BEFORE UPDATE OR DELETE ON billing_period
FOR EACH ROW EXECUTE FUNCTION qm_period_changes();

CREATE FUNCTION qm_charge_joins() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE scope text := coalesce(current_setting('app.fleet', true), '');
BEGIN
    PERFORM set_config('app.fleet', 'on', true);
    IF EXISTS (
        SELECT 1 FROM billing_period p JOIN (
            SELECT DISTINCT tenant_id, hour FROM added WHERE correction_period_id IS NULL
        ) AS n ON n.tenant_id = p.tenant_id AND n.hour >= p.starts_at AND n.hour < p.ends_at
        WHERE p.state = 'closed'
    ) OR EXISTS (
        SELECT 1 FROM (
            SELECT DISTINCT tenant_id, correction_period_id FROM added
            WHERE correction_period_id IS NOT NULL
        ) AS n JOIN billing_period p ON p.id = n.correction_period_id
        WHERE p.state = 'closed' OR p.tenant_id <> n.tenant_id
    ) THEN
        RAISE EXCEPTION 'no charge joins a closed billing period: correct it in an open one'
            USING ERRCODE = 'restrict_violation';
    END IF;
    PERFORM set_config('app.fleet', scope, true);
    RETURN NULL;
END $$;
CREATE TRIGGER closed_takes_none AFTER INSERT ON charge
REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION qm_charge_joins();
"""
UNDO_PERIODS = """
DROP TRIGGER closed_takes_none ON charge;
DROP FUNCTION qm_charge_joins();
DROP TRIGGER closed_stays ON billing_period;
DROP FUNCTION qm_period_changes();
ALTER TABLE billing_period DROP CONSTRAINT billing_period_no_overlap;
"""
DOCUMENTS = """
CREATE FUNCTION qm_invoice_of_closed() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE scope text := coalesce(current_setting('app.fleet', true), '');
BEGIN
    PERFORM set_config('app.fleet', 'on', true);
    IF EXISTS (SELECT 1 FROM billing_period WHERE id = NEW.period_id
        AND (state <> 'closed' OR tenant_id <> NEW.tenant_id))
    THEN
        RAISE EXCEPTION 'only a closed billing period is invoiced'
            USING ERRCODE = 'restrict_violation';
    END IF;
    PERFORM set_config('app.fleet', scope, true);
    RETURN NEW;
END $$;
CREATE TRIGGER of_closed_only BEFORE INSERT ON invoice
FOR EACH ROW EXECUTE FUNCTION qm_invoice_of_closed();

CREATE FUNCTION qm_lines_add_up() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE scope text := coalesce(current_setting('app.fleet', true), '');
BEGIN
    PERFORM set_config('app.fleet', 'on', true);
    IF EXISTS (
        SELECT 1 FROM invoice i JOIN invoice_line l ON l.invoice_id = i.id
        WHERE i.id IN (SELECT invoice_id FROM added)
        GROUP BY i.id, i.total HAVING sum(l.amount) <> i.total OR sum(l.exact) <> i.total
    ) THEN
        RAISE EXCEPTION 'the lines do not add up to the total of their invoice'
            USING ERRCODE = 'check_violation';
    END IF;
    PERFORM set_config('app.fleet', scope, true);
    RETURN NULL;
END $$;
CREATE TRIGGER lines_add_up AFTER INSERT ON invoice_line
REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION qm_lines_add_up();

CREATE FUNCTION qm_credits_capped() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE scope text := coalesce(current_setting('app.fleet', true), '');
BEGIN
    PERFORM set_config('app.fleet', 'on', true);
    IF EXISTS (
        SELECT 1 FROM invoice_line l JOIN credit_note_line c ON c.line_id = l.id
        WHERE l.id IN (SELECT line_id FROM added)
        GROUP BY l.id, l.amount HAVING sum(c.amount) > l.amount
    ) OR EXISTS (
        SELECT 1 FROM credit_note n JOIN credit_note_line c ON c.note_id = n.id
        WHERE n.id IN (SELECT note_id FROM added)
        GROUP BY n.id, n.net HAVING sum(c.amount) <> n.net
    ) THEN
        RAISE EXCEPTION 'a credit note gives back at most its lines, and all that it says'
            USING ERRCODE = 'check_violation';
    END IF;
    PERFORM set_config('app.fleet', scope, true);
    RETURN NULL;
END $$;
CREATE TRIGGER credits_capped AFTER INSERT ON credit_note_line
REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION qm_credits_capped();

CREATE FUNCTION qm_series_counts() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' OR (NEW.issuer, NEW.kind, NEW.last_number)
        IS DISTINCT FROM (OLD.issuer, OLD.kind, OLD.last_number + 1)
    THEN
        RAISE EXCEPTION 'numbers of documents go up by one' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER up_by_one BEFORE UPDATE OR DELETE ON document_series
FOR EACH ROW EXECUTE FUNCTION qm_series_counts();

CREATE FUNCTION qm_number_is_used() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE scope text := coalesce(current_setting('app.fleet', true), '');
BEGIN
    PERFORM set_config('app.fleet', 'on', true);
    IF NOT EXISTS (SELECT 1 FROM invoice WHERE NEW.kind = 'invoice'
            AND issuer = NEW.issuer AND sequence = NEW.last_number)
        AND NOT EXISTS (SELECT 1 FROM credit_note WHERE NEW.kind = 'credit'
            AND issuer = NEW.issuer AND sequence = NEW.last_number)
    THEN
        RAISE EXCEPTION 'number % has no document', NEW.last_number
            USING ERRCODE = 'check_violation';
    END IF;
    PERFORM set_config('app.fleet', scope, true);
    RETURN NULL;
END $$;
-- At commit, when the document of the number must be there.
CREATE CONSTRAINT TRIGGER number_is_used AFTER UPDATE ON document_series
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION qm_number_is_used();
"""
UNDO_DOCUMENTS = """
DROP TRIGGER number_is_used ON document_series;
DROP FUNCTION qm_number_is_used();
DROP TRIGGER up_by_one ON document_series;
DROP FUNCTION qm_series_counts();
DROP TRIGGER credits_capped ON credit_note_line;
DROP FUNCTION qm_credits_capped();
DROP TRIGGER lines_add_up ON invoice_line;
DROP FUNCTION qm_lines_add_up();
DROP TRIGGER of_closed_only ON invoice;
DROP FUNCTION qm_invoice_of_closed();
"""
JOURNAL = """
CREATE FUNCTION qm_journal_balances() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE scope text := coalesce(current_setting('app.fleet', true), '');
BEGIN
    PERFORM set_config('app.fleet', 'on', true);
    IF EXISTS (
        SELECT 1 FROM journal_leg WHERE txn_id IN (SELECT txn_id FROM added)
        GROUP BY txn_id, currency HAVING sum(amount) <> 0
    ) THEN
        RAISE EXCEPTION 'the legs of a transaction sum to zero in each currency'
            USING ERRCODE = 'check_violation';
    END IF;
    PERFORM set_config('app.fleet', scope, true);
    RETURN NULL;
END $$;
CREATE TRIGGER balances AFTER INSERT ON journal_leg
REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION qm_journal_balances();
"""
UNDO_JOURNAL = "DROP TRIGGER balances ON journal_leg; DROP FUNCTION qm_journal_balances();"
WRITTEN_ONCE = (
    "period_sign_off",
    "invoice",
    "invoice_line",
    "credit_note",
    "credit_note_line",
    "journal_txn",
    "journal_leg",
)


class Migration(migrations.Migration):
    dependencies = [("billing", "0011_journal"), ("tenants", "0002_row_level_security")]

    operations = [
        EnableRLS("billing_account"),
        EnableRLS("billing_period"),
        *(EnableRLS(table) for table in WRITTEN_ONCE),
        *(AppendOnly(table) for table in WRITTEN_ONCE),
        migrations.RunSQL(PERIODS, UNDO_PERIODS),
        migrations.RunSQL(DOCUMENTS, UNDO_DOCUMENTS),
        migrations.RunSQL(JOURNAL, UNDO_JOURNAL),
    ]
