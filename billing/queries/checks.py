"""The sums that must agree, each from both sides. A difference means that something was lost."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db import connection

from billing.queries.book_checks import BOOKS
from billing.queries.cost_checks import COSTS


@dataclass(frozen=True, slots=True)
class Check:
    """`left` and `right` are what the sentence compares."""

    sentence: str
    left: Decimal
    right: Decimal

    @property
    def holds(self) -> bool:
        return self.left == self.right


# Hours that still wait for a roll-up or a rating are left out: they have not been compared yet.
ROLLED = """NOT EXISTS (SELECT 1 FROM usage_hour_mark k
    WHERE k.tenant_id = {t}.tenant_id AND k.hour = {hour})"""
EVENT_HOUR = "date_trunc('hour', e.event_time, 'UTC')"
EVENTS = f"FROM usage_event e WHERE e.event_time >= %(since)s AND {ROLLED}".format(
    t="e", hour=EVENT_HOUR
)
HOURS = f"FROM usage_hour u WHERE u.hour >= %(since)s AND {ROLLED}".format(t="u", hour="u.hour")
RATED = """FROM usage_hour_head h WHERE h.hour >= %(since)s AND h.version = h.rated_version"""
OF_RATED = """EXISTS (SELECT 1 FROM usage_hour_head h WHERE h.hour = {t}.hour
    AND h.tenant_id = {t}.tenant_id AND h.version = h.rated_version)"""
BILLED = "('served', 'rerouted', 'degraded', 'cancelled')"
CHARGED = f"FROM charge c WHERE c.hour >= %(since)s AND {OF_RATED}".format(t="c")
UNPRICED = f"FROM unpriced_usage c WHERE c.hour >= %(since)s AND {OF_RATED}".format(t="c")
BILLED_HOURS = (
    f"FROM usage_hour u WHERE u.hour >= %(since)s AND outcome IN {BILLED} AND {OF_RATED}"
).format(t="u")
TOKENS = "('prompt', 'cached', 'completion')"
# Packages are charged as a whole: more tokens are paid for than used.
LOOSE = "AND model NOT IN (SELECT model FROM price WHERE kind = 'package')"

CHECKS = (
    (
        "requests: events = hours",
        f"SELECT count(*) {EVENTS}",
        f"SELECT sum(requests) {HOURS}",
    ),
    (
        "prompt tokens: events = hours",
        f"SELECT sum(prompt_tokens) {EVENTS}",
        f"SELECT sum(prompt_tokens) {HOURS}",
    ),
    (
        "completion tokens: events = hours",
        f"SELECT sum(completion_tokens) {EVENTS}",
        f"SELECT sum(completion_tokens) {HOURS}",
    ),
    (
        "ids seen = events (of all time)",
        "SELECT count(*) FROM usage_seen",
        "SELECT count(*) FROM usage_event",
    ),
    (
        "tokens paid for = tokens charged + tokens without a price (packages apart)",
        f"SELECT sum(prompt_tokens + completion_tokens) {BILLED_HOURS} {LOOSE}",
        f"SELECT coalesce((SELECT sum(quantity) {CHARGED} AND meter IN {TOKENS} {LOOSE}), 0)"
        f" + coalesce((SELECT sum(quantity) {UNPRICED} {LOOSE}), 0)",
    ),
    (
        "money: charges = hours as rated",
        f"SELECT sum(amount) {CHARGED}",
        f"SELECT sum(amount) {RATED}",
    ),
    (
        "money: charges = quantity x unit price",
        "SELECT sum(amount) FROM charge WHERE hour >= %(since)s",
        "SELECT sum(quantity * unit_price) FROM charge WHERE hour >= %(since)s",
    ),
    (
        "money: charges = day sums (of all time)",
        "SELECT sum(amount) FROM charge",
        "SELECT sum(amount) FROM charge_day",
    ),
    (
        "money: day sums = totals (of all time)",
        "SELECT sum(amount) FROM charge_day",
        "SELECT sum(amount) FROM charge_total",
    ),
    (
        "money: totals = sums of tenants (of all time)",
        "SELECT sum(amount) FROM charge_total",
        "SELECT sum(amount) FROM charge_sum",
    ),
    (
        "money: totals = sums of releases (of all time)",
        "SELECT sum(amount) FROM charge_total",
        "SELECT sum(amount) FROM charge_release",
    ),
    (
        "requests: hours = days (of all time)",
        "SELECT sum(events) FROM usage_hour_head",
        "SELECT sum(events) FROM usage_day",
    ),
    (
        "requests: hours = days of models (of all time)",
        "SELECT sum(requests) FROM usage_hour",
        "SELECT sum(requests) FROM usage_model_day",
    ),
    (
        "tokens: hours = hours of services (of all time)",
        "SELECT sum(prompt_tokens + completion_tokens) FROM usage_hour WHERE service_id > 0",
        "SELECT sum(prompt_tokens + completion_tokens) FROM usage_service_hour",
    ),
    (
        "cost: pools = tenants + idle + overhead",
        "SELECT sum(p.cost) FROM cost_pool p JOIN allocation_run r ON r.id = p.run_id"
        " WHERE r.is_current",
        "SELECT sum(a.amount) FROM allocation a JOIN cost_pool p ON p.id = a.pool_id"
        " JOIN allocation_run r ON r.id = p.run_id WHERE r.is_current",
    ),
    (
        "cost: the fleet's bill = day sums",
        "SELECT sum(cost) FROM allocation_run WHERE is_current",
        "SELECT sum(amount) FROM cost_day",
    ),
    (
        "pools whose shares do not add up to them",
        "SELECT 0",
        "SELECT count(*) FROM (SELECT 1 FROM cost_pool p LEFT JOIN allocation a"
        " ON a.pool_id = p.id GROUP BY p.id, p.cost"
        " HAVING p.cost IS NOT NULL AND p.cost <> coalesce(sum(a.amount), 0)) AS wrong",
    ),
    (
        "requests with more cached than prompt tokens",
        "SELECT 0",
        "SELECT count(*) FROM usage_event e WHERE event_time >= %(since)s"
        " AND cached_tokens > prompt_tokens",
    ),
)


def run_checks(since: datetime) -> Iterator[Check]:
    """Compare each pair in the scope that is open, over hours from `since` on.

    Run it inside a repeatable-read transaction while usage comes in: both sides of a check are
    two statements.
    """
    with connection.cursor() as cursor:
        for sentence, left, right in (*CHECKS, *COSTS, *BOOKS):
            sides = []
            for sql in (left, right):
                cursor.execute(sql, {"since": since})
                sides.append(Decimal(cursor.fetchone()[0] or 0))
            yield Check(sentence, *sides)
