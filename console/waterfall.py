"""Where the fleet's bill goes: steps from all of it down to nothing left over. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from billing.queries.economics import Economics, Margin
from console import figures
from console.charts import Chart

ZERO = Decimal(0)
MOST_TENANTS = 8  # as bars of their own; the rest is one
COLOURS = (("c1", ""), ("c6", "/"), ("c3", "x"), ("c1", "."), ("c6", "\\"), ("c3", "-"),
           ("c1", "|"), ("c6", "+"))  # fmt: skip
# Whom the rows behind a step are of.
BILL, TENANT, TENANTS, IDLE, OVERHEAD, OTHER, LEFT = (
    "bill", "tenant", "tenants", "idle", "overhead", "other", "left over",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Step:
    """`start` is what is left before it, `start` - `amount` after it; the bill starts at itself."""

    kind: str
    name: str
    amount: Decimal
    start: Decimal
    colour: str
    pattern: str
    tenant_id: int | None = None

    @property
    def left(self) -> Decimal:
        return self.start if self.kind == BILL else self.start - self.amount


def bill_steps(found: Economics) -> list[Step]:
    """All of the bill, GPUs by who caused them, and what is no GPU. What is left over is 0, or
    the attribution lost something: it is drawn, not hidden.
    """
    parts = [*_tenants(found.tenants)]
    parts += [
        (IDLE, "Idle", found.idle, "c5", "\\", None),
        (OVERHEAD, "Overhead", found.overhead, "c4", ".", None),
    ]
    if found.other.whole:
        parts += [
            (OTHER, "Shared platform", found.other.platform, "c2", "/", None),
            (OTHER, "Hosted providers", found.other.hosted, "c2", "x", None),
        ]
    left = found.whole
    steps = [Step(BILL, "Bill", left, left, "c7", "")]
    for kind, name, amount, colour, pattern, tenant in parts:
        steps.append(Step(kind, name, amount, left, colour, pattern, tenant))
        left -= amount
    return [*steps, Step(LEFT, "Left over", left, left, "bad", "")]


def _tenants(rows: Sequence[Margin]) -> list[tuple[str, str, Decimal, str, str, int | None]]:
    dearest = sorted((m for m in rows if m.cost), key=lambda m: (-m.cost, m.name))
    parts: list[tuple[str, str, Decimal, str, str, int | None]] = [
        (TENANT, m.name, m.cost, *look, m.wanted.tenant_id)
        for m, look in zip(dearest[:MOST_TENANTS], COLOURS, strict=False)
    ]
    if rest := dearest[MOST_TENANTS:]:
        amount = sum((m.cost for m in rest), ZERO)
        parts.append((TENANTS, f"{len(rest)} other tenants", amount, "c7", "-", None))
    return parts


def waterfall(key: str, title: str, steps: Sequence[Step], currency: str) -> Chart:
    """One bar a step, from what is left before it to what is left after it."""
    rows = tuple((s.name, figures.number(s.amount), figures.number(s.left)) for s in steps)
    said = ", ".join(f"{name} {amount}" for name, amount, _ in rows)
    layout = {"xaxis": {"type": "category", "automargin": True}, "hovermode": "closest"}
    figure = {"data": [_bar(step) for step in steps], "layout": layout}
    says = f"{title} in {currency}: {said}"
    return Chart(key, title, figure, ("Part", "Amount", "Left"), rows, says, currency)


def _bar(step: Step) -> dict[str, object]:
    """With a base of its own, a bar is in no stack."""
    base = ZERO if step.kind in (BILL, LEFT) else min(step.start, step.left)
    marker: dict[str, object] = {"color": f"var:--{step.colour}"}
    return {
        "type": "bar",
        "x": [step.name],
        "y": [float(step.amount if step.kind in (BILL, LEFT) else abs(step.amount))],
        "base": [float(base)],
        "name": step.name,
        "text": [figures.number(step.amount)],
        "textposition": "outside",
        "cliponaxis": False,
        "marker": marker | {"pattern": {"shape": step.pattern}} if step.pattern else marker,
    }
