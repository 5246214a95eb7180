"""The journal, and credits: each entry against what it pays for and what the journal has."""

from billing.queries.sums import NONE, Comparison, Paired, wrong_rows

ENTRIES = "credit_entry e JOIN credit_grant g ON g.id = e.grant_id"
LEGS = "journal_leg l JOIN journal_txn t ON t.id = l.txn_id"
KEY = "left(d.issuer, 80) || ':' || d.number"

CREDITS = (
    Paired(
        ("journal: debit legs = credit legs, of each transaction",),
        f"SELECT t.at, t.tenant_id, concat_ws(' ', t.kind, t.document, l.currency) AS place,"
        " coalesce(sum(l.amount) FILTER (WHERE l.amount > 0), 0) AS l1,"
        " coalesce(-sum(l.amount) FILTER (WHERE l.amount < 0), 0) AS r1"
        f" FROM {LEGS} GROUP BY t.id, l.currency",
    ),
    wrong_rows(
        "transactions of the journal without legs",
        "SELECT at, tenant_id, concat_ws(' ', kind, document) AS place FROM journal_txn t"
        " WHERE NOT EXISTS (SELECT 1 FROM journal_leg l WHERE l.txn_id = t.id)"
        " AND kind NOT IN ('invoice', 'credit_note')",
    ),
    Comparison(
        ("journal: billed = invoices - credit notes",),
        f"SELECT {NONE}, t.tenant_id, t.key, l.amount FROM {LEGS}"
        " WHERE l.account = 'receivable' AND t.kind IN ('invoice', 'credit_note')",
        f"SELECT {NONE}, d.tenant_id, 'invoice:' || {KEY}, total FROM invoice d"
        f" UNION ALL SELECT {NONE}, d.tenant_id, 'credit:' || {KEY}, -total FROM credit_note d",
    ),
    Comparison(
        ("journal: taxes = invoices - credit notes",),
        f"SELECT {NONE}, t.tenant_id, t.key, -l.amount FROM {LEGS} WHERE l.account = 'tax_payable'",
        f"SELECT {NONE}, d.tenant_id, 'invoice:' || {KEY}, tax FROM invoice d"
        f" UNION ALL SELECT {NONE}, d.tenant_id, 'credit:' || {KEY}, -tax FROM credit_note d",
    ),
    Comparison(
        ("credits: granted = what was approved",),
        f"SELECT {NONE}, tenant_id, 'credit ' || id, amount FROM credit_grant"
        " WHERE state IN ('active', 'expired')",
        f"SELECT {NONE}, tenant_id, 'credit ' || grant_id, amount FROM credit_entry"
        " WHERE kind = 'granted'",
    ),
    Comparison(
        ("credits: promotions used = their lines on invoices",),
        f"SELECT {NONE}, e.tenant_id, i.number, -e.amount FROM {ENTRIES}"
        " JOIN invoice i ON i.id = e.invoice_id WHERE e.kind = 'used' AND NOT g.paid",
        f"SELECT {NONE}, l.tenant_id, i.number, -l.amount FROM invoice_line l"
        " JOIN invoice i ON i.id = l.invoice_id WHERE l.kind = 'promotion'",
    ),
    Comparison(
        ("credits: promotions given back = credit notes",),
        f"SELECT {NONE}, e.tenant_id, n.number, e.amount FROM {ENTRIES}"
        " JOIN credit_note n ON n.id = e.note_id WHERE e.kind = 'undone' AND NOT g.paid",
        f"SELECT {NONE}, c.tenant_id, n.number, c.promoted FROM credit_note_line c"
        " JOIN credit_note n ON n.id = c.note_id",
    ),
    Comparison(
        ("credits: promotions used and not given back = what they cost in the journal",),
        f"SELECT {NONE}, e.tenant_id, g.currency, -e.amount FROM {ENTRIES}"
        " WHERE e.kind IN ('used', 'undone') AND NOT g.paid",
        f"SELECT {NONE}, tenant_id, currency, amount FROM journal_leg WHERE account = 'promotions'",
    ),
    Comparison(
        ("credits: prepaid and left = what the journal owes",),
        f"SELECT {NONE}, e.tenant_id, g.currency, e.amount FROM {ENTRIES} WHERE g.paid",
        f"SELECT {NONE}, tenant_id, currency, -amount FROM journal_leg"
        " WHERE account = 'prepaid_credits'",
    ),
    wrong_rows(
        "lines for which a credit got back more than it paid",
        "SELECT NULL::timestamptz AS at, e.tenant_id, concat_ws(' ', 'credit', e.grant_id,"
        " 'line', e.line_id) AS place FROM credit_entry e WHERE kind IN ('used', 'undone')"
        " GROUP BY e.tenant_id, grant_id, line_id HAVING sum(amount) > 0",
    ),
    wrong_rows(
        "credits that were spent beyond what was granted",
        "SELECT NULL::timestamptz AS at, e.tenant_id, 'credit ' || e.grant_id AS place"
        " FROM credit_entry e GROUP BY e.tenant_id, grant_id HAVING sum(amount) < 0",
    ),
)
