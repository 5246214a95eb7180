"""Cost: node prices, the pools that they priced, the shares of pools, and the sums of days."""

from billing.queries.sums import FLEET, NONE, Comparison, Paired
from billing.queries.usage_checks import DAY

RUN = "cost_pool p JOIN allocation_run r ON r.id = p.run_id"
OF_DAY = "concat_ws(' ', {a}.kind, {a}.model, {a}.release, {p}.product, {p}.state, {c}.currency)"

COSTS = (
    Comparison(
        ("cost: pools = tenants + idle + overhead",),
        f"SELECT hour, {FLEET}, 'pool ' || id, cost FROM cost_pool",
        f"SELECT hour, {FLEET}, 'pool ' || pool_id, sum(amount) FROM allocation"
        " GROUP BY hour, pool_id",
    ),
    Comparison(
        ("cost: the fleet's bill = its pools", "GPU milliseconds: attributed hours = their pools"),
        f"SELECT hour, {FLEET}, 'run ' || id, cost, gpu_ms FROM allocation_run",
        f"SELECT hour, {FLEET}, 'run ' || run_id, sum(cost), sum(gpu_ms) FROM cost_pool"
        " GROUP BY hour, run_id",
    ),
    Comparison(
        (
            "cost: the fleet's bill = day sums",
            "GPU milliseconds: shares = day sums",
            "savings by the cache: shares = day sums",
        ),
        f"SELECT date_trunc('day', r.hour, 'UTC'), a.tenant_id,"
        f" {OF_DAY.format(a='a', p='p', c='r')}, sum(a.amount), sum(a.weight), sum(a.saved)"
        f" FROM {RUN} JOIN allocation a ON a.pool_id = p.id WHERE r.is_current GROUP BY 1, 2, 3",
        f"SELECT {DAY}, tenant_id, {OF_DAY.format(a='d', p='d', c='d')}, amount, weight, saved"
        " FROM cost_day d",
    ),
    Comparison(
        ("cost: parts of node prices = their hours (of all time)",),
        f"SELECT {NONE}, {FLEET}, 'line ' || id, hourly FROM gpu_price WHERE parts <> '{{}}'",
        f"SELECT {NONE}, {FLEET}, 'line ' || id, sum(part.value::numeric)"
        " FROM gpu_price, jsonb_each_text(parts) AS part GROUP BY id",
    ),
    Paired(
        ("cost: pools are priced as their line says",),
        f"SELECT p.hour AS at, {FLEET} AS tenant_id, 'pool ' || p.id AS place,"
        " coalesce(p.hourly, -1) AS l1, coalesce(l.hourly, -1) AS r1"
        " FROM cost_pool p LEFT JOIN gpu_price l ON l.id = p.price_id"
        " WHERE p.price_id IS NOT NULL",
    ),
    Paired(
        ("cost: pools = GPU time x price, each rounded once",),
        # numeric rounds halves away from zero, and a pool half to even: a half has 13 decimals
        f"SELECT hour AS at, {FLEET} AS tenant_id, place, cost AS l1,"
        " CASE WHEN cost = trunc(exact, 12) AND exact - cost = 5e-13 THEN cost"
        " ELSE round(exact, 12) END AS r1 FROM (SELECT p.hour, 'pool ' || p.id AS place, p.cost,"
        f" p.gpu_ms * p.hourly / 3600000::numeric(60, 30) AS exact FROM {RUN}"
        " WHERE r.is_current AND p.cost IS NOT NULL AND r.hour >= %(since)s) AS pools",
    ),
)
