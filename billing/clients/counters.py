"""The gateways' counters of budgets in Redis."""

from collections.abc import Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import redis
from redis.exceptions import RedisError

from gateway.contract import keys
from tenants.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Generator

SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Spent:
    """What the ledger knows of one budget in one period."""

    tenant_id: int
    series: int
    kind: str  # as the contract names it
    period: str
    units: int  # tokens, or micro-units of the currency
    seconds_to_live: int


class BudgetCounters:
    def __init__(self, url: str) -> None:
        self._redis = redis.Redis.from_url(
            url,
            socket_timeout=SECONDS,
            socket_connect_timeout=SECONDS,
            decode_responses=True,
        )
        self._publish = self._redis.register_script(keys.PUBLISH_BUDGET)

    def publish(self, budgets: Iterable[Spent], *, generation: str) -> int:
        """Raise `spent` where the ledger knows more, and rebuild what was lost."""
        count = 0
        with reachable():
            # Loads the script once; a pipeline's EVALSHA has nobody who would load it.
            self._redis.script_load(keys.PUBLISH_BUDGET)
            with self._redis.pipeline(transaction=False) as pipe:
                for b in budgets:
                    name = keys.budget(b.tenant_id, b.series, b.period, b.kind)
                    self._publish(
                        keys=[name],
                        args=[b.units, generation, b.seconds_to_live],
                        client=pipe,
                    )
                    count += 1
                pipe.execute()
        return count

    def read(self, tenant_id: int, series: int, period: str, kind: str = "money") -> dict[str, str]:
        with reachable():
            found = self._redis.hgetall(keys.budget(tenant_id, series, period, kind))
        return {str(k): str(v) for k, v in found.items()}


@contextmanager
def reachable() -> "Generator[None]":
    try:
        yield
    except RedisError as error:
        raise Unavailable(f"Redis does not answer: {error}") from error


@lru_cache(maxsize=4)
def budget_counters(url: str) -> BudgetCounters:
    """One pool of connections a process."""
    return BudgetCounters(url)
