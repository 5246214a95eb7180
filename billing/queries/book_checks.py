"""Invoices and credit notes: their lines, charges, numbers, digests and rates."""

from billing.queries.sums import FLEET, NONE, Comparison, Paired, wrong_rows

OF_INVOICE = """
FROM invoice i JOIN billing_period p ON p.id = i.period_id
JOIN charge c ON c.tenant_id = i.tenant_id AND c.currency = i.priced_in
    AND c.id > i.after_charge AND c.id <= i.upto_charge
    AND (c.correction_period_id = p.id OR c.correction_period_id IS NULL
        AND c.hour >= p.starts_at AND c.hour < p.ends_at)
"""
USAGE = "kind IN ('usage', 'correction')"
# A correction's own month decides which line has it; charges that net to nothing have no line.
OF_LINE = f"""
SELECT i.id, c.model, c.meter, c.unit_price, coalesce(o.name, '') AS corrects,
    c.runs_on,
    encode(sha256(string_agg(c.id || ' ' || c.amount, E'\\n' ORDER BY c.id)::bytea), 'hex') AS sha,
    round(sum(c.amount) * i.rate, 12) AS amount  -- in the currency of the invoice
{OF_INVOICE}
LEFT JOIN billing_period o ON c.correction_period_id IS NOT NULL AND o.tenant_id = c.tenant_id
    AND c.hour >= o.starts_at AND c.hour < o.ends_at
GROUP BY 1, 2, 3, 4, 5, 6
"""
LINES = f"""
SELECT {NONE} AS at, i.tenant_id, concat_ws(' ', i.number, coalesce('line ' || l.position,
        concat_ws(' ', 'no line of', found.model, found.meter, found.runs_on, found.unit_price)))
        AS place,
    coalesce(found.amount, 0) AS l1, coalesce(l.exact, 0) AS r1,
    (l.id IS NOT NULL)::int AS l2, coalesce(l.charges_sha256 = found.sha, false)::int AS r2
FROM (SELECT * FROM invoice_line WHERE {USAGE}) AS l FULL JOIN ({OF_LINE}) AS found
    ON found.id = l.invoice_id AND found.model = l.model AND found.meter = l.meter
    AND found.unit_price = l.unit_price AND found.corrects = l.corrects
    AND found.runs_on = l.runs_on
JOIN invoice i ON i.id = coalesce(l.invoice_id, found.id)
"""
DOCUMENTS = """
SELECT 'invoice' AS kind, issuer, sequence, issued_at AS at, tenant_id, number, total,
    snapshot, sha256, pdf, pdf_sha256 FROM invoice
UNION ALL SELECT 'credit', issuer, sequence, issued_at, tenant_id, number, total,
    snapshot, sha256, pdf, pdf_sha256 FROM credit_note
"""
# The text is canonical: no spaces, keys in their order, the document's own total after its lines.
SAID = """(regexp_match(snapshot, '.*"total":"?([-0-9.]+)'))[1]::numeric"""
TOTALS = f"SELECT {NONE}, tenant_id, number, total, total FROM invoice"
OF_LINES = f"""
SELECT {NONE}, i.tenant_id, i.number, sum(l.amount), sum(l.exact)
FROM invoice_line l JOIN invoice i ON i.id = l.invoice_id GROUP BY i.id
"""
NAMED = "substring(l.name from '^Given back by (CN[0-9]*-[0-9]+) of ')"
GIVEN_BACK = f"""
SELECT {NONE}, l.tenant_id, {NAMED}, l.amount FROM invoice_line l
WHERE l.kind = 'given_back' AND {NAMED} IS NOT NULL
"""

BOOKS = (
    Comparison(
        ("money: lines = invoices", "money: exact lines with rounding = invoices"),
        OF_LINES,
        TOTALS,
    ),
    Comparison(
        ("money: exact lines without taxes = net of invoices",),
        f"SELECT {NONE}, i.tenant_id, i.number, sum(l.exact) FROM invoice_line l"
        " JOIN invoice i ON i.id = l.invoice_id WHERE l.kind <> 'tax' GROUP BY i.id",
        f"SELECT {NONE}, tenant_id, number, net FROM invoice",
    ),
    Paired(
        (
            "money: charges of invoices = their lines before rounding",
            "lines = lines whose charges have the digest that was kept",
        ),
        LINES,
    ),
    Paired(
        ("money: credited of lines, and at most what they are",),
        "SELECT NULL::timestamptz AS at, l.tenant_id, i.number || ' line ' || l.position AS place,"
        " sum(c.amount + c.promoted) AS l1, least(sum(c.amount + c.promoted), l.amount) AS r1"
        " FROM credit_note_line c JOIN invoice_line l ON l.id = c.line_id"
        " JOIN invoice i ON i.id = l.invoice_id GROUP BY l.id, i.number",
    ),
    Comparison(
        ("money: lines of credit notes = their net",),
        f"SELECT {NONE}, n.tenant_id, n.number, sum(c.amount) FROM credit_note_line c"
        " JOIN credit_note n ON n.id = c.note_id GROUP BY n.id",
        f"SELECT {NONE}, tenant_id, number, net FROM credit_note",
    ),
    Comparison(
        ("money: given back by lines of invoices = credit notes that they name",),
        GIVEN_BACK,
        f"SELECT {NONE}, n.tenant_id, n.number, c.amount + c.promoted FROM credit_note_line c"
        " JOIN credit_note n ON n.id = c.note_id WHERE EXISTS (SELECT 1 FROM invoice i"
        " JOIN invoice_line l ON l.invoice_id = i.id AND l.kind = 'given_back'"
        f" WHERE i.tenant_id = n.tenant_id AND i.issued_at = n.issued_at AND {NAMED} = n.number)",
    ),
    Comparison(
        ("numbers given = invoices and credit notes",),
        f"SELECT {NONE}, {FLEET}, kind || ' ' || issuer, last_number FROM document_series",
        f"SELECT {NONE}, {FLEET}, kind || ' ' || issuer, count(*) FROM ({DOCUMENTS}) AS d"
        " GROUP BY kind, issuer",
    ),
    Paired(
        (
            "records and PDFs = those with the SHA-256 that was kept",
            "money: documents = what their records say",
        ),
        "SELECT NULL::timestamptz AS at, tenant_id, number AS place, 2 AS l1,"
        " (encode(sha256(convert_to(snapshot, 'UTF8')), 'hex') = sha256)::int"
        f" + (encode(sha256(pdf), 'hex') = pdf_sha256)::int AS r1, total AS l2, {SAID} AS r2"
        f" FROM ({DOCUMENTS}) AS documents",
    ),
    Paired(
        ("rates of invoices = rates that were recorded",),
        "SELECT i.rate_on::timestamp AT TIME ZONE 'UTC' AS at, i.tenant_id, concat_ws(' ',"
        " i.number, priced_in, currency, rate_source) AS place, i.rate AS l1, coalesce((SELECT"
        " e.rate FROM exchange_rate e WHERE e.base = i.priced_in AND e.quote = i.currency"
        " AND e.source = i.rate_source AND e.on_date = i.rate_on AND e.recorded_at <= i.issued_at"
        " ORDER BY e.rate = i.rate DESC, e.id DESC LIMIT 1), 0) AS r1"
        " FROM invoice i WHERE i.rate_on IS NOT NULL",
    ),
    wrong_rows(
        "charges that no period bills",
        "SELECT hour AS at, tenant_id, 'charge ' || id AS place FROM charge c"
        " WHERE correction_period_id IS NULL AND hour < (SELECT"
        " max(ends_at) FROM billing_period p WHERE p.tenant_id = c.tenant_id) AND NOT EXISTS ("
        "SELECT 1 FROM billing_period p WHERE p.tenant_id = c.tenant_id"
        " AND c.hour >= p.starts_at AND c.hour < p.ends_at)",
    ),
)
