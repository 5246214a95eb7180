"""The documents of a second issuer have numbers of their own: each number names one document.

An operator that is renamed, or bills by another company, begins at one again. The numbers of its
series say that it is the second one (INV2-000001), so that pages, files and the journal, which go
by the number, never take one document for the other.
"""

from django.db import migrations

WHOLE = """
CREATE OR REPLACE FUNCTION qm_document_is_whole() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    scope text := coalesce(current_setting('app.fleet', true), '');
    series text := CASE TG_TABLE_NAME WHEN 'invoice' THEN 'invoice' ELSE 'credit' END;
    prefix text := CASE TG_TABLE_NAME WHEN 'invoice' THEN 'INV' ELSE 'CN' END;
<place>    digits text := NEW.sequence::text;
    asked numeric := CASE TG_TABLE_NAME WHEN 'invoice' THEN NEW.total ELSE -NEW.total END;
    lines bigint;
    lines_total numeric;
    posted bigint;
    owed numeric;
    is_next boolean;
BEGIN
    PERFORM set_config('app.fleet', 'on', true);
<count>    -- A series goes up by one and each of its numbers has a document, the only one of it.
    IF NEW.number <> prefix || '-' || lpad(digits, greatest(6, length(digits)), '0')
        OR NOT EXISTS (
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
DO $$
BEGIN
    EXECUTE format('ALTER FUNCTION qm_document_is_whole() SET search_path = %I, pg_temp',
        current_schema());
END $$;
"""
PARTS = {
    "<place>": "    place bigint;\n",
    "<count>": """    SELECT count(*) INTO place FROM document_series s WHERE s.kind = series AND s.id <= (
        SELECT id FROM document_series WHERE issuer = NEW.issuer AND kind = series);
    IF place > 1 THEN
        prefix := prefix || place;
    END IF;
""",
}


def made(*, is_new: bool) -> str:
    text = WHOLE
    for name, part in PARTS.items():
        text = text.replace(name, part if is_new else "")
    return text


class Migration(migrations.Migration):
    dependencies = [("billing", "0151_a_raised_budget_warns_again")]

    operations = [migrations.RunSQL(made(is_new=True), made(is_new=False))]
