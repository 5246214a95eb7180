"""Revenue: usage that is paid for, its charges, and the sums of charges that pages read."""

from billing.queries.sums import Comparison, Paired
from billing.queries.usage_checks import DAY
from billing.rules.meters import BILLED

RATED = """usage_hour_head h ON h.hour = t.hour AND h.tenant_id = t.tenant_id
    AND h.version = h.rated_version"""
OUTCOMES = ", ".join(f"'{outcome}'" for outcome in sorted(BILLED))
TOKENS = "('prompt', 'cached', 'completion')"
# Packages are charged as a whole: more tokens are paid for than used. A package stands in the list
# of a currency or in a tenant's own contract, and holds in the hours of its version.
NO_PACKAGE = """NOT EXISTS (
    SELECT 1 FROM price p JOIN price_book_version v ON v.id = p.book_version_id
    JOIN price_book b ON b.id = v.book_id
    WHERE p.kind = 'package' AND p.model = t.model AND p.meter = t.meter
        AND v.published_at IS NOT NULL AND v.effective @> t.hour
        AND (b.tenant_id = t.tenant_id OR b.tenant_id IS NULL AND b.currency = h.currency))"""
USED = f"""
SELECT u.hour, u.tenant_id, u.model, m.meter, sum(m.quantity) AS quantity
FROM usage_hour u CROSS JOIN LATERAL (VALUES ('prompt', prompt_tokens - cached_tokens),
    ('cached', cached_tokens), ('completion', completion_tokens)) AS m (meter, quantity)
WHERE u.hour >= %(since)s AND outcome IN ({OUTCOMES}) GROUP BY 1, 2, 3, 4
"""
PAID = f"""
SELECT hour, tenant_id, model, meter, sum(quantity) AS quantity FROM (
    SELECT hour, tenant_id, model, meter, quantity FROM charge WHERE hour >= %(since)s
        AND meter IN {TOKENS}
    UNION ALL
    SELECT hour, tenant_id, model, meter, quantity FROM unpriced_usage WHERE hour >= %(since)s
        AND meter IN {TOKENS}
) AS c GROUP BY 1, 2, 3, 4
"""
BY_METER = (
    "SELECT t.hour, t.tenant_id, concat_ws(' ', t.model, t.meter), t.quantity"
    f" FROM ({{rows}}) AS t JOIN {RATED} WHERE {NO_PACKAGE}"
)
OF_DAY = "date_trunc('day', hour, 'UTC')"

CHARGES = (
    Comparison(
        ("tokens paid for = tokens charged + tokens without a price (packages apart)",),
        BY_METER.format(rows=USED),
        BY_METER.format(rows=PAID),
    ),
    Comparison(
        ("money: charges = hours as rated",),
        "SELECT t.hour, t.tenant_id, t.currency, t.amount FROM (SELECT hour, tenant_id, currency,"
        " sum(amount) AS amount FROM charge WHERE hour >= %(since)s GROUP BY 1, 2, 3) AS t"
        f" JOIN {RATED}",
        "SELECT hour, tenant_id, currency, amount FROM usage_hour_head"
        " WHERE hour >= %(since)s AND version = rated_version",
    ),
    Paired(
        ("money: charges = quantity x unit price",),
        "SELECT hour AS at, tenant_id, concat_ws(' ', model, meter, currency) AS place,"
        " sum(amount) AS l1, sum(quantity * unit_price) AS r1, count(*) FILTER"
        " (WHERE amount <> quantity * unit_price) AS bad"
        " FROM charge WHERE hour >= %(since)s GROUP BY hour, tenant_id, model, meter, currency",
        differs="bad > 0",
    ),
    Comparison(
        (
            "quantities: charges = day sums (of all time)",
            "money: charges = day sums (of all time)",
        ),
        f"SELECT day, tenant_id, concat_ws(' ', 'application', application_id, model,"
        f" traffic_class, meter, currency), quantity, amount FROM (SELECT {OF_DAY} AS day,"
        " tenant_id, application_id, model, traffic_class, meter, currency, sum(quantity) AS"
        " quantity, sum(amount) AS amount FROM charge GROUP BY 1, 2, 3, 4, 5, 6, 7) AS c",
        f"SELECT {DAY}, tenant_id, concat_ws(' ', 'application', application_id, model,"
        " traffic_class, meter, currency), quantity, amount FROM charge_day",
    ),
    Comparison(
        ("money: day sums = totals (of all time)",),
        f"SELECT {DAY}, tenant_id, concat_ws(' ', model, currency), amount FROM charge_day",
        f"SELECT {DAY}, tenant_id, concat_ws(' ', model, currency), amount FROM charge_total",
    ),
    Comparison(
        ("money: totals = sums of tenants (of all time)",),
        f"SELECT {DAY}, tenant_id, currency, amount FROM charge_total",
        f"SELECT {DAY}, tenant_id, currency, amount FROM charge_sum",
    ),
    Comparison(
        ("money: totals = sums of releases (of all time)",),
        f"SELECT {DAY}, tenant_id, concat_ws(' ', model, currency), amount FROM charge_total",
        f"SELECT {DAY}, tenant_id, concat_ws(' ', model, currency), amount FROM charge_release",
    ),
)
