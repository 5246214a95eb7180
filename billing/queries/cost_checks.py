"""Sums of node prices and of the pools that they priced, which must agree."""

COSTS = (
    (
        "cost: parts of node prices = their hours (of all time)",
        "SELECT sum(hourly) FROM gpu_price WHERE parts <> '{}'",
        "SELECT sum(part.value::numeric) FROM gpu_price, jsonb_each_text(parts) AS part",
    ),
    (
        "pools with another price than their line has",
        "SELECT 0",
        "SELECT count(*) FROM cost_pool p LEFT JOIN gpu_price l ON l.id = p.price_id"
        " WHERE p.price_id IS NOT NULL AND p.hourly IS DISTINCT FROM l.hourly",
    ),
    (
        "cost: pools = GPU time x price, each rounded once",
        "SELECT sum(p.cost) FROM cost_pool p JOIN allocation_run r ON r.id = p.run_id"
        " WHERE r.is_current AND r.hour >= %(since)s",
        # numeric rounds halves away from zero, and a pool half to even: a half has 13 decimals
        "SELECT sum(CASE WHEN cost = trunc(exact, 12) AND exact - cost = 5e-13 THEN cost"
        " ELSE round(exact, 12) END) FROM (SELECT p.cost,"
        " p.gpu_ms * p.hourly / 3600000::numeric(60, 30) AS exact FROM cost_pool p"
        " JOIN allocation_run r ON r.id = p.run_id"
        " WHERE r.is_current AND p.cost IS NOT NULL AND r.hour >= %(since)s) AS pools",
    ),
)
