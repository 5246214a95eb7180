"""What plans of rollouts are priced with: the fleet asks, whoever it is that proposes."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from billing.queries.gpu_prices import HourlyPrice, gpu_prices
from fleet.queries.prices import answer_with
from tenants.rules.access import Permission, system_viewer


def offer() -> None:
    """From the start of the process on."""
    answer_with(prices_of_plans)


def prices_of_plans(
    products: Iterable[str], at: datetime, cluster: str
) -> Mapping[str, HourlyPrice]:
    """Kept with the rollout; who may not see money is not shown them."""
    viewer = system_viewer("plans", (Permission.VIEW_FLEET, Permission.VIEW_MONEY))
    return gpu_prices(viewer, products, at, cluster=cluster)
