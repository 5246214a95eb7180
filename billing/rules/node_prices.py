"""What an hour of a GPU costs us on a node, by how we pay for it. Pure, exact until rounded once.

Method `node-prices-1`: a line of a sheet is for one GPU product and, if it says so, for the nodes
of one cluster, node pool or capacity kind. The line that says most holds: a node pool before a
cluster, a cluster before a capacity kind, that before a line for every node. No line: the time is
listed without a price, never counted as zero. A month is 730 hours.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction

NODE_METHOD = "node-prices-1"
HOURS_OF_MONTH = 730
PICO = 10**12
CAPACITIES = ("on_demand", "reserved", "spot", "owned")  # as nodes tell it by their labels


class PayKind(StrEnum):
    ON_DEMAND = "on_demand"
    RESERVED = "reserved"
    SPOT = "spot"
    OWNED = "owned"


# Of each kind, the numbers that it needs and those that it may have, all of one GPU.
NEEDS = {
    PayKind.ON_DEMAND: ("hourly",),
    PayKind.SPOT: ("hourly",),
    PayKind.RESERVED: ("upfront", "months"),
    PayKind.OWNED: ("purchase", "months"),
}
MAY = {
    PayKind.ON_DEMAND: (),
    PayKind.SPOT: (),
    PayKind.RESERVED: ("hourly", "gpus"),
    PayKind.OWNED: ("residual", "watts", "pue", "kwh", "hosting"),
}
ONE = {"pue": Decimal(1)}  # what is taken where nothing is said; of the others zero


Scope = tuple[str, str, str, str]  # product, cluster, node pool, capacity


@dataclass(frozen=True, slots=True)
class NodeLine:
    """`terms`: numbers by name, of one GPU. Empty cluster, pool, capacity: every one."""

    product: str
    kind: PayKind
    terms: Mapping[str, Decimal]
    cluster: str = ""
    node_pool: str = ""
    capacity: str = ""

    @property
    def scope(self) -> Scope:
        return self.product, self.cluster, self.node_pool, self.capacity

    def term(self, name: str) -> Decimal:
        return self.terms.get(name, ONE.get(name, Decimal(0)))

    @property
    def gpus(self) -> int:
        """GPUs that are paid for, used or not; 0: those that are there."""
        return int(self.term("gpus"))

    @property
    def text(self) -> str:
        """As a person writes it: H100, owned, purchase=30000, months=48, cluster=dc1."""
        order = (*NEEDS[self.kind], *MAY[self.kind])
        numbers = [f"{name}={plain(self.terms[name])}" for name in order if name in self.terms]
        return ", ".join([self.product, self.kind.value, *numbers, *scope_words(self)])


@dataclass(frozen=True, slots=True)
class Rate:
    """Currency units for an hour of one GPU, at 12 decimals; the parts add up to it exactly."""

    hourly: Decimal
    parts: tuple[tuple[str, Decimal], ...]


def scope_words(line: NodeLine) -> list[str]:
    said = (("cluster", line.cluster), ("pool", line.node_pool), ("capacity", line.capacity))
    return [f"{name}={value}" for name, value in said if value]


def plain(value: Decimal) -> str:
    """Without an exponent and without zeros that say nothing."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def exact_parts(line: NodeLine) -> dict[str, Fraction]:
    """Of an hour, before any rounding; those that are zero are left out."""
    month = Fraction(1, HOURS_OF_MONTH)
    of = {name: Fraction(line.term(name)) for name in (*NEEDS[line.kind], *MAY[line.kind])}
    of |= {"pue": Fraction(line.term("pue"))}
    parts = {}
    if line.kind is PayKind.OWNED:
        parts["depreciation"] = (of["purchase"] - of["residual"]) / of["months"] * month
        parts["power"] = of["watts"] * of["pue"] * of["kwh"] / 1000
        parts["hosting"] = of["hosting"] * month
    elif line.kind is PayKind.RESERVED:
        parts["upfront"] = of["upfront"] / of["months"] * month
        parts["hourly"] = of["hourly"]
    else:
        parts["hourly"] = of["hourly"]
    return {name: part for name, part in parts.items() if part} or {"hourly": Fraction(0)}


def rate_of(line: NodeLine) -> Rate:
    """The sum is rounded once, half to even; its parts share that by largest remainder."""
    exact = {name: part * PICO for name, part in exact_parts(line).items()}
    units = round(sum(exact.values(), Fraction(0)))
    floors = {name: part.numerator // part.denominator for name, part in exact.items()}
    order = sorted(exact, key=lambda name: floors[name] - exact[name])
    for name in order[: units - sum(floors.values())]:
        floors[name] += 1
    parts = tuple((name, Decimal(part).scaleb(-12)) for name, part in floors.items())
    return Rate(Decimal(units).scaleb(-12), parts)


def line_for(
    lines: Iterable[NodeLine], product: str, cluster: str, node_pool: str, capacity: str
) -> NodeLine | None:
    """The one that says most of those that hold for these nodes."""
    fits = [
        line
        for line in lines
        if line.product == product
        and line.cluster in ("", cluster)
        and line.node_pool in ("", node_pool)
        and line.capacity in ("", capacity)
    ]
    return max(fits, key=_says, default=None)


def _says(line: NodeLine) -> tuple[bool, bool, bool]:
    return bool(line.node_pool), bool(line.cluster), bool(line.capacity)


@dataclass(frozen=True, slots=True)
class Commitment:
    """GPU-milliseconds of one hour that are paid for and were not seen on nodes."""

    line: NodeLine
    gpu_ms: int


def unused_commitments(
    lines: Iterable[NodeLine], seen_ms: Mapping[Scope, int], elapsed_ms: int
) -> list[Commitment]:
    """A commitment to a number of GPUs is paid whether they are there or not.

    `seen_ms`: by scope of a line, the GPU time that it priced; `elapsed_ms`: of the hour so far.
    """
    found = []
    for line in lines:
        left = line.gpus * elapsed_ms - seen_ms.get(line.scope, 0)
        if left > 0:
            found.append(Commitment(line, left))
    return found
