"""Which line prices which GPU time, and the time that a commitment pays for besides. Pure."""

from collections.abc import Iterable, Sequence

from billing.rules.allocation import UNUSED, GpuPool
from billing.rules.node_prices import NodeLine, Scope, line_for, unused_commitments

Nodes = tuple[str, str, str, str]  # product, cluster, node pool, capacity
HOUR_MS = 3_600_000


class RateCard:
    """The lines of a sheet; remembers what it found for the same nodes."""

    def __init__(self, lines: Iterable[NodeLine]) -> None:
        self.lines = tuple(lines)
        self.found: dict[Nodes, NodeLine | None] = {}

    def line_for(self, pool: GpuPool) -> NodeLine | None:
        nodes = (pool.product, pool.cluster, pool.node_pool, pool.capacity)
        if nodes not in self.found:
            self.found[nodes] = line_for(self.lines, *nodes)
        return self.found[nodes]

    def price(
        self, pools: Sequence[GpuPool], elapsed_ms: int = HOUR_MS
    ) -> list[tuple[GpuPool, NodeLine | None]]:
        """Of one hour, of which so much is over. A pool without a line has no price."""
        priced = [(pool, self.line_for(pool)) for pool in pools]
        seen: dict[Scope, int] = {}
        for pool, line in priced:
            if line:
                seen[line.scope] = seen.get(line.scope, 0) + pool.gpu_ms
        for one in unused_commitments(self.lines, seen, elapsed_ms):
            priced.append((unused_pool(one.line, one.gpu_ms), one.line))
        return priced


def unused_pool(line: NodeLine, gpu_ms: int) -> GpuPool:
    return GpuPool(line.cluster, line.product, UNUSED, 0, "", gpu_ms, line.node_pool, line.capacity)
