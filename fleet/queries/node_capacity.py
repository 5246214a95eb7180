"""How nodes are paid for: the pool and the kind of capacity that they told, by their GPUs."""

from dataclasses import dataclass

from django.db import connection

from fleet.queries.access import see_fleet
from tenants.rules.access import Viewer

NODES = """
SELECT c.slug, u.node, i.product, i.node_pool, i.capacity, count(*),
    count(*) FILTER (WHERE i.state = 'free')
FROM gpu_interval i JOIN gpu_unit u ON u.id = i.unit_id JOIN cluster c ON c.id = u.cluster_id
WHERE i.ends_at IS NULL AND c.removed_at IS NULL AND (%(cluster)s = '' OR c.slug = %(cluster)s)
GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3
"""


@dataclass(frozen=True, slots=True)
class NodeCapacity:
    """GPUs of a product on one node; `units` counts parts of GPUs as well."""

    cluster: str
    node: str
    product: str
    node_pool: str
    capacity: str  # rules.node_capacity
    units: int
    free: int


def list_node_capacity(viewer: Viewer, *, cluster: str = "") -> list[NodeCapacity]:
    """Of nodes whose GPUs are seen now."""
    see_fleet(viewer)
    with connection.cursor() as cursor:
        cursor.execute(NODES, {"cluster": cluster})
        return [NodeCapacity(*row) for row in cursor.fetchall()]
