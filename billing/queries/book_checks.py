"""Sums of invoices, credit notes and the journal that must agree, and digests that must hold."""

OF_INVOICE = """
FROM invoice i JOIN billing_period p ON p.id = i.period_id
JOIN charge c ON c.tenant_id = i.tenant_id AND c.currency = i.priced_in
    AND c.id > i.after_charge AND c.id <= i.upto_charge
    AND (c.correction_period_id = p.id OR c.correction_period_id IS NULL
        AND c.hour >= p.starts_at AND c.hour < p.ends_at)
"""
USAGE = "kind IN ('usage', 'correction')"
# A correction's own month decides which line has it.
OF_LINE = f"""
SELECT i.id, c.model, c.meter, c.unit_price, coalesce(o.name, '') AS corrects,
    c.runs_on,
    encode(sha256(string_agg(c.id || ' ' || c.amount, E'\\n' ORDER BY c.id)::bytea), 'hex') AS sha,
    i.net, round(sum(c.amount) * i.rate, 12) AS amount  -- in the currency of the invoice
{OF_INVOICE}
LEFT JOIN billing_period o ON c.correction_period_id IS NOT NULL AND o.tenant_id = c.tenant_id
    AND c.hour >= o.starts_at AND c.hour < o.ends_at
GROUP BY 1, 2, 3, 4, 5, 6
"""
DIGESTS = """
SELECT sum((encode(sha256(convert_to(snapshot, 'UTF8')), 'hex') <> sha256)::int
    + (encode(sha256(pdf), 'hex') <> pdf_sha256)::int) FROM (
    SELECT snapshot, sha256, pdf, pdf_sha256 FROM invoice
    UNION ALL SELECT snapshot, sha256, pdf, pdf_sha256 FROM credit_note) AS documents
"""
ENTRIES = "FROM credit_entry e JOIN credit_grant g ON g.id = e.grant_id WHERE true"

BOOKS = (
    (
        "money: lines = invoices",
        "SELECT sum(amount) FROM invoice_line",
        "SELECT sum(total) FROM invoice",
    ),
    (
        "money: exact lines with rounding = invoices",
        "SELECT sum(exact) FROM invoice_line",
        "SELECT sum(total) FROM invoice",
    ),
    (
        "money: charges of invoices = their lines before rounding",
        f"SELECT sum(amount) FROM ({OF_LINE}) AS found",
        f"SELECT sum(exact) FROM invoice_line WHERE {USAGE}",
    ),
    (
        "invoices whose charges and rounding are not their net",
        "SELECT 0",
        f"SELECT count(*) FROM (SELECT i.id FROM ({OF_LINE}) AS i GROUP BY i.id, i.net"
        " HAVING sum(i.amount) + (SELECT coalesce(sum(exact), 0) FROM invoice_line l"
        " WHERE l.invoice_id = i.id AND l.kind IN ('rounding', 'promotion')) <> i.net) AS wrong",
    ),
    (
        "lines whose charges have another digest",
        "SELECT 0",
        f"SELECT count(*) FROM invoice_line l LEFT JOIN ({OF_LINE}) AS found"
        " ON found.id = l.invoice_id AND found.model = l.model AND found.meter = l.meter"
        " AND found.unit_price = l.unit_price AND found.corrects = l.corrects"
        " AND found.runs_on = l.runs_on"
        f" WHERE l.{USAGE} AND l.charges_sha256 IS DISTINCT FROM found.sha",
    ),
    (
        "lines that were credited with more than they are",
        "SELECT 0",
        "SELECT count(*) FROM (SELECT 1 FROM credit_note_line c JOIN invoice_line l"
        " ON l.id = c.line_id GROUP BY l.id, l.amount"
        " HAVING sum(c.amount + c.promoted) > l.amount) AS wrong",
    ),
    (
        "numbers given = invoices and credit notes",
        "SELECT sum(last_number) FROM document_series",
        "SELECT (SELECT count(*) FROM invoice) + (SELECT count(*) FROM credit_note)",
    ),
    ("records and PDFs whose SHA-256 is another", "SELECT 0", DIGESTS),
    (
        "journal: all legs = 0",
        "SELECT sum(amount) FROM journal_leg",
        "SELECT 0",
    ),
    (
        "transactions of the journal that do not balance",
        "SELECT 0",
        "SELECT count(*) FROM (SELECT 1 FROM journal_leg GROUP BY txn_id, currency"
        " HAVING sum(amount) <> 0) AS wrong",
    ),
    (
        "journal: billed = invoices - credit notes",
        "SELECT sum(l.amount) FROM journal_leg l JOIN journal_txn t ON t.id = l.txn_id"
        " WHERE l.account = 'receivable' AND t.kind IN ('invoice', 'credit_note')",
        "SELECT coalesce((SELECT sum(total) FROM invoice), 0)"
        " - coalesce((SELECT sum(total) FROM credit_note), 0)",
    ),
    (
        "credits: promotions used = their lines on invoices",
        f"SELECT -sum(e.amount) {ENTRIES} AND e.kind = 'used' AND NOT g.paid",
        "SELECT -sum(amount) FROM invoice_line WHERE kind = 'promotion'",
    ),
    (
        "credits: promotions given back = credit notes",
        f"SELECT sum(e.amount) {ENTRIES} AND e.kind = 'undone' AND NOT g.paid",
        "SELECT sum(promoted) FROM credit_note_line",
    ),
    (
        "credits: promotions used and not given back = what they cost in the journal",
        f"SELECT -sum(e.amount) {ENTRIES} AND e.kind IN ('used', 'undone') AND NOT g.paid",
        "SELECT sum(amount) FROM journal_leg WHERE account = 'promotions'",
    ),
    (
        "lines for which a credit got back more than it paid",
        "SELECT 0",
        "SELECT count(*) FROM (SELECT 1 FROM credit_entry WHERE kind IN ('used', 'undone')"
        " GROUP BY grant_id, line_id HAVING sum(amount) > 0) AS wrong",
    ),
    (
        "credits: prepaid and left = what the journal owes",
        f"SELECT sum(e.amount) {ENTRIES} AND g.paid",
        "SELECT -sum(amount) FROM journal_leg WHERE account = 'prepaid_credits'",
    ),
    (
        "credits that were spent beyond what was granted",
        "SELECT 0",
        "SELECT count(*) FROM (SELECT 1 FROM credit_entry GROUP BY grant_id"
        " HAVING sum(amount) < 0) AS wrong",
    ),
    (
        "charges that no period bills",
        "SELECT 0",
        "SELECT count(*) FROM charge c WHERE correction_period_id IS NULL AND hour < (SELECT"
        " max(ends_at) FROM billing_period p WHERE p.tenant_id = c.tenant_id) AND NOT EXISTS ("
        "SELECT 1 FROM billing_period p WHERE p.tenant_id = c.tenant_id"
        " AND c.hour >= p.starts_at AND c.hour < p.ends_at)",
    ),
)
