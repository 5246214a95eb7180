"""Sums of charges by UTC day, brought up to date with what a pass of rating wrote.

Charges are only ever added, so the sums of days grow by what was added, under the lock of rating.
What releases had of a day is shared anew, because usage that comes late changes the shares.
"""

from typing import Any

from billing.queries.by_release import CUT, OUTCOMES
from billing.rules.meters import BY_REQUEST

METERS = ", ".join(f"'{meter.value}'" for meter in BY_REQUEST)
WORKING = {
    "rate_day": "day date, tenant_id bigint",
    "rate_answered": "day date, tenant_id bigint, model text, release text, is_mixed boolean",
}
# Day by day of each tenant, by an index: to the planner rows behind a policy look too few to join.
OF_DAY = """CROSS JOIN LATERAL (SELECT * FROM {table} WHERE tenant_id = m.tenant_id {of_model}
    AND hour >= m.day::timestamp AT TIME ZONE 'UTC'
    AND hour < (m.day + 1)::timestamp AT TIME ZONE 'UTC' OFFSET 0) AS c"""
# Keys in a fixed order, as every writer of this table has them.
ADD_DAYS = """
WITH added AS (
    INSERT INTO charge_day AS kept (day, tenant_id, application_id, model, traffic_class, meter,
        currency, quantity, amount)
    SELECT (day AT TIME ZONE 'UTC')::date, tenant_id, application_id, model, traffic_class, meter,
        currency, sum(quantity), sum(amount)
    FROM (SELECT date_bin('1 day', hour, 'epoch') AS day, * FROM ({changes}) AS c) AS changes
    GROUP BY day, tenant_id, application_id, model, traffic_class, meter, currency
    ON CONFLICT (tenant_id, day, application_id, model, traffic_class, meter, currency)
    DO UPDATE SET quantity = kept.quantity + EXCLUDED.quantity,
        amount = kept.amount + EXCLUDED.amount
    RETURNING day, tenant_id
)
INSERT INTO rate_day SELECT DISTINCT day, tenant_id FROM added
"""
FORGET_NOTHINGS = """
DELETE FROM charge_day d USING rate_day m
WHERE d.day = m.day AND d.tenant_id = m.tenant_id AND quantity = 0 AND amount = 0
"""
FORGET_TOTALS = """
DELETE FROM charge_total d USING rate_day m WHERE d.day = m.day AND d.tenant_id = m.tenant_id
"""
SUM_TOTALS = """
INSERT INTO charge_total (day, tenant_id, model, currency, amount)
SELECT m.day, m.tenant_id, model, currency, sum(amount)
FROM rate_day m JOIN charge_day d ON d.tenant_id = m.tenant_id AND d.day = m.day
GROUP BY 1, 2, 3, 4
"""
FORGET_SUMS = """
DELETE FROM charge_sum d USING rate_day m WHERE d.day = m.day AND d.tenant_id = m.tenant_id
"""
SUM_SUMS = """
INSERT INTO charge_sum (day, tenant_id, currency, amount)
SELECT m.day, m.tenant_id, currency, sum(amount)
FROM rate_day m JOIN charge_total d ON d.tenant_id = m.tenant_id AND d.day = m.day
GROUP BY 1, 2, 3
"""
FORGET_RELEASES = """
DELETE FROM charge_release d USING rate_day m WHERE d.day = m.day AND d.tenant_id = m.tenant_id
"""
ANSWERED = f"""
INSERT INTO rate_answered
SELECT m.day, m.tenant_id, model, min(release), min(release) <> max(release)
FROM rate_day m {OF_DAY.format(table="usage_hour", of_model="")}
WHERE outcome IN ({OUTCOMES}) GROUP BY 1, 2, 3
"""
# One release answered all day, as on every day without a rollout: nothing is to be shared.
ONE_RELEASE = f"""
INSERT INTO charge_release (day, tenant_id, model, release, currency, amount)
SELECT day, tenant_id, model, CASE WHEN meter IN ({METERS}) THEN coalesce(release, '')
    ELSE '' END, currency, sum(amount)
FROM rate_day m JOIN charge_day d USING (day, tenant_id)
LEFT JOIN rate_answered a USING (day, tenant_id, model)
WHERE is_mixed IS NOT TRUE GROUP BY 1, 2, 3, 4, 5 HAVING sum(amount) <> 0
"""
ARE_MIXED = "SELECT EXISTS (SELECT FROM rate_answered WHERE is_mixed)"
MIXED = f"FROM rate_answered m {OF_DAY} WHERE is_mixed"
OF_MODEL = "AND model = m.model"
SHARED = "INSERT INTO charge_release (day, tenant_id, model, release, currency, amount)" + (
    CUT.format(
        charges=f"SELECT m.day, c.* {MIXED.format(table='charge', of_model=OF_MODEL)}",
        usage=f"SELECT c.* {MIXED.format(table='usage_hour', of_model=OF_MODEL)}",
    )
)
ADD = (
    FORGET_NOTHINGS, FORGET_TOTALS, SUM_TOTALS, FORGET_SUMS, SUM_SUMS,
    FORGET_RELEASES, ANSWERED, ONE_RELEASE,
)  # fmt: skip


def add_to_days(cursor: Any, changes: str) -> None:
    """Of the charges that the query `changes` answers, once they are written."""
    cursor.execute(ADD_DAYS.format(changes=changes))
    for statement in ADD:
        cursor.execute(statement)
    cursor.execute(ARE_MIXED)
    if cursor.fetchone()[0]:
        cursor.execute(SHARED)
