"""Requests that are dropped: what is kept of them against hours, and against itself."""

from billing.queries.sums import FLEET, Comparison, wrong_rows

DAY = "day::timestamp AT TIME ZONE 'UTC'"
SUMS = "requests, prompt_tokens, completion_tokens, cached_tokens, gpu_ms"
ADDED = ", ".join(f"sum({name})" for name in SUMS.split(", "))
SENTENCES = ("requests", "prompt tokens", "completion tokens", "cached tokens", "GPU milliseconds")
HOURS = f"""
SELECT {DAY}, tenant_id, '', {ADDED} FROM usage_hour
JOIN (SELECT DISTINCT day FROM usage_day_dropped) AS gone
    ON hour >= {DAY} AND hour < (day + 1)::timestamp AT TIME ZONE 'UTC'
GROUP BY day, tenant_id
"""
# Of a part without any request it is the digest of nothing.
DIGESTS = f"""
SELECT p.ends_at AS at, {FLEET} AS tenant_id, p.part AS place FROM usage_part_dropped p
WHERE p.sha256 <> (
    SELECT encode(sha256(coalesce(string_agg(decode(d.sha256, 'hex'), ''::bytea
        ORDER BY day, d.tenant_id), ''::bytea)), 'hex')
    FROM usage_day_dropped d WHERE d.part = p.part
)
"""

DROPPED = (
    Comparison(
        tuple(f"{name}: dropped = hours (of all time)" for name in SENTENCES),
        f"SELECT {DAY}, tenant_id, '', {SUMS} FROM usage_day_dropped",
        HOURS,
    ),
    Comparison(
        tuple(f"{name}: parts dropped = their days" for name in SENTENCES),
        f"SELECT NULL::timestamptz, {FLEET}, part, {SUMS} FROM usage_part_dropped",
        f"SELECT NULL::timestamptz, {FLEET}, part, {ADDED} FROM usage_day_dropped GROUP BY part",
    ),
    wrong_rows("digests of parts dropped that are not those of their days", DIGESTS),
)
