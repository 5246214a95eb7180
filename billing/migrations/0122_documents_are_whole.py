"""Documents and transactions are committed whole: what belongs to one comes with it, or never.

Lines and legs only join a row that their own transaction wrote; at commit each document has its
lines, its number, its entry in the journal. The functions read names of the schema alone: a
temporary table of the same name is not looked at.
"""

from django.db import migrations

# A row that is seen and whose writer is still at work is of this transaction, savepoints included.
# Its id is at least the transaction's own; `xmin` has the lower half of it.
MADE_NOW = """
CREATE FUNCTION qm_made_now(made xid) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    own bigint := pg_current_xact_id()::text::bigint;
    past bigint := (made::text::bigint - own) & 4294967295;
BEGIN
    RETURN past < 2147483648
        AND pg_xact_status((own + past)::text::xid8) = 'in progress';
END $$;
"""
JOINS = """
CREATE FUNCTION qm_joins_its_own() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    scope text := coalesce(current_setting('app.fleet', true), '');
    is_late boolean;
BEGIN
    PERFORM set_config('app.fleet', 'on', true);
    CASE TG_TABLE_NAME
        WHEN 'invoice_line' THEN
            is_late := EXISTS (SELECT 1 FROM invoice p WHERE p.id IN (SELECT invoice_id FROM added)
                AND NOT qm_made_now(p.xmin)) OR EXISTS (SELECT 1 FROM added a
                JOIN invoice p ON p.id = a.invoice_id AND p.tenant_id <> a.tenant_id);
        WHEN 'credit_note_line' THEN
            is_late := EXISTS (SELECT 1 FROM credit_note p WHERE p.id IN (SELECT note_id FROM added)
                AND NOT qm_made_now(p.xmin)) OR EXISTS (SELECT 1 FROM added a
                JOIN credit_note p ON p.id = a.note_id JOIN invoice_line l ON l.id = a.line_id
                WHERE p.tenant_id <> a.tenant_id OR l.invoice_id <> p.invoice_id);
        WHEN 'journal_leg' THEN
            is_late := EXISTS (SELECT 1 FROM journal_txn p WHERE p.id IN (SELECT txn_id FROM added)
                AND NOT qm_made_now(p.xmin)) OR EXISTS (SELECT 1 FROM added a
                JOIN journal_txn p ON p.id = a.txn_id AND p.tenant_id <> a.tenant_id);
    END CASE;
    IF is_late THEN
        RAISE EXCEPTION 'no row of % joins what was written before', TG_TABLE_NAME
            USING ERRCODE = 'restrict_violation';
    END IF;
    PERFORM set_config('app.fleet', scope, true);
    RETURN NULL;
END $$;
CREATE TRIGGER joins_its_own AFTER INSERT ON invoice_line
REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION qm_joins_its_own();
CREATE TRIGGER joins_its_own AFTER INSERT ON credit_note_line
REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION qm_joins_its_own();
CREATE TRIGGER joins_its_own AFTER INSERT ON journal_leg
REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION qm_joins_its_own();
"""
NUMBERS = """
CREATE FUNCTION qm_series_begins() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.last_number <> 0 THEN
        RAISE EXCEPTION 'numbers of documents begin at one' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER begins_at_one BEFORE INSERT ON document_series
FOR EACH ROW EXECUTE FUNCTION qm_series_begins();
"""
WHOLE = """
CREATE FUNCTION qm_document_is_whole() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    scope text := coalesce(current_setting('app.fleet', true), '');
    series text := CASE TG_TABLE_NAME WHEN 'invoice' THEN 'invoice' ELSE 'credit' END;
    prefix text := CASE TG_TABLE_NAME WHEN 'invoice' THEN 'INV-' ELSE 'CN-' END;
    digits text := NEW.sequence::text;
    asked numeric := CASE TG_TABLE_NAME WHEN 'invoice' THEN NEW.total ELSE -NEW.total END;
    lines bigint;
    lines_total numeric;
    posted bigint;
    owed numeric;
    is_next boolean;
BEGIN
    PERFORM set_config('app.fleet', 'on', true);
    -- A series goes up by one and each of its numbers has a document, which is the only one of it.
    IF NEW.number <> prefix || lpad(digits, greatest(6, length(digits)), '0') OR NOT EXISTS (
        SELECT 1 FROM document_series WHERE issuer = NEW.issuer AND kind = series
        AND NEW.sequence BETWEEN 1 AND last_number)
    THEN
        RAISE EXCEPTION 'the number % was not taken from its series', NEW.number
            USING ERRCODE = 'check_violation';
    END IF;
    IF NEW.total <> NEW.net + NEW.tax OR NEW.total < 0 THEN
        RAISE EXCEPTION 'the total of % is net and tax, and not below zero', NEW.number
            USING ERRCODE = 'check_violation';
    END IF;
    IF TG_TABLE_NAME = 'invoice' THEN
        SELECT count(*), sum(amount) INTO lines, lines_total
            FROM invoice_line WHERE invoice_id = NEW.id;
        -- One invoice goes on where those before it ended, one for each currency of prices.
        SELECT coalesce(max(upto_charge), 0) = NEW.after_charge INTO is_next FROM invoice
            WHERE period_id = NEW.period_id AND id < NEW.id
            AND (after_charge, upto_charge) <> (NEW.after_charge, NEW.upto_charge);
    ELSE
        SELECT tenant_id = NEW.tenant_id AND currency = NEW.currency
            INTO is_next FROM invoice WHERE id = NEW.invoice_id;
        SELECT count(*), sum(amount + tax) INTO lines, lines_total
            FROM credit_note_line WHERE note_id = NEW.id;
    END IF;
    IF lines = 0 OR lines_total <> NEW.total THEN
        RAISE EXCEPTION '% has no lines, or they do not add up to its total', NEW.number
            USING ERRCODE = 'check_violation';
    END IF;
    IF NOT coalesce(is_next, false) THEN
        RAISE EXCEPTION '% does not go on where the one before it ended, or is not of its account',
            NEW.number USING ERRCODE = 'check_violation';
    END IF;
    SELECT count(DISTINCT t.id), coalesce(sum(l.amount) FILTER (
            WHERE l.account = 'receivable' AND l.currency = NEW.currency), 0)
        INTO posted, owed FROM journal_txn t LEFT JOIN journal_leg l ON l.txn_id = t.id
        WHERE t.key = series || ':' || left(NEW.issuer, 80) || ':' || NEW.number
        AND t.tenant_id = NEW.tenant_id AND t.document = NEW.number
        AND t.kind = CASE series WHEN 'invoice' THEN 'invoice' ELSE 'credit_note' END;
    IF posted <> 1 OR owed <> asked THEN
        RAISE EXCEPTION '% is not in the journal with its total', NEW.number
            USING ERRCODE = 'check_violation';
    END IF;
    PERFORM set_config('app.fleet', scope, true);
    RETURN NULL;
END $$;
-- At commit, when all of a document must be there.
CREATE CONSTRAINT TRIGGER is_whole AFTER INSERT ON invoice
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION qm_document_is_whole();
CREATE CONSTRAINT TRIGGER is_whole AFTER INSERT ON credit_note
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION qm_document_is_whole();

CREATE FUNCTION qm_txn_is_whole() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    scope text := coalesce(current_setting('app.fleet', true), '');
    has_legs boolean;
    has_document boolean := true;
BEGIN
    PERFORM set_config('app.fleet', 'on', true);
    SELECT count(*) > 0 INTO has_legs FROM journal_leg WHERE txn_id = NEW.id;
    -- A document of nothing moves nothing. Whether the sums agree, the document's trigger asks.
    IF NEW.kind = 'invoice' THEN
        has_document := EXISTS (SELECT 1 FROM invoice d WHERE d.number = NEW.document
            AND NEW.key = 'invoice:' || left(d.issuer, 80) || ':' || d.number
            AND d.tenant_id = NEW.tenant_id AND qm_made_now(d.xmin));
        has_legs := has_legs OR has_document;
    ELSIF NEW.kind = 'credit_note' THEN
        has_document := EXISTS (SELECT 1 FROM credit_note d WHERE d.number = NEW.document
            AND NEW.key = 'credit:' || left(d.issuer, 80) || ':' || d.number
            AND d.tenant_id = NEW.tenant_id AND qm_made_now(d.xmin));
        has_legs := has_legs OR has_document;
    END IF;
    IF NOT has_legs OR NOT has_document THEN
        RAISE EXCEPTION 'the transaction % has no legs, or no document', NEW.key
            USING ERRCODE = 'check_violation';
    END IF;
    PERFORM set_config('app.fleet', scope, true);
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER is_whole AFTER INSERT ON journal_txn
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION qm_txn_is_whole();
"""
UNDO = """
DROP TRIGGER is_whole ON journal_txn;
DROP FUNCTION qm_txn_is_whole();
DROP TRIGGER is_whole ON credit_note;
DROP TRIGGER is_whole ON invoice;
DROP FUNCTION qm_document_is_whole();
DROP TRIGGER begins_at_one ON document_series;
DROP FUNCTION qm_series_begins();
DROP TRIGGER joins_its_own ON journal_leg;
DROP TRIGGER joins_its_own ON credit_note_line;
DROP TRIGGER joins_its_own ON invoice_line;
DROP FUNCTION qm_joins_its_own();
DROP FUNCTION qm_made_now(xid);
"""


class Migration(migrations.Migration):
    dependencies = [("billing", "0121_no_index_of_charges_by_tenant")]

    operations = [
        migrations.RunSQL([MADE_NOW, JOINS, NUMBERS, WHOLE], [UNDO]),
    ]
