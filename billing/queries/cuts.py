"""A tenant's sum cut by each of its parts at once: one look at its charges for each span."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from django.db import connection

from billing.queries.charged import SUMS, ChargeFilter, Sum, edges
from billing.queries.money import Part, names_of, parts_from
from billing.queries.visibility import narrowed
from tenants.rules.access import Viewer

ZERO = Decimal(0)
CUTS = ("model", "application_id", "meter", "traffic_class")
SETS = """
GROUP BY GROUPING SETS ((model), (application_id), (meter), (traffic_class), (model, meter))
"""
LINE = 0b0101  # what is left out of the four where both the service and the meter are kept
OF_CUT = {0b0111: "model", 0b1011: "application_id", 0b1101: "meter", 0b1110: "traffic_class"}


@dataclass(frozen=True, slots=True)
class CutLine:
    """What an invoice has a line for: one meter of one service."""

    model: str
    meter: str
    quantity: Decimal
    amount: Decimal


@dataclass(frozen=True, slots=True)
class CutUp:
    parts: Mapping[str, Sequence[Part]]  # by cut, each with all parts, the largest first
    lines: tuple[CutLine, ...]  # of services, the largest first
    before: Decimal  # the whole of the span that it is compared with


def cut_up(viewer: Viewer, wanted: ChargeFilter, compared: ChargeFilter) -> CutUp:
    """The same parts as `money.parts` gives one by one."""
    wanted, compared = narrowed(viewer, wanted), narrowed(viewer, compared)
    now, old = _read(wanted), _read(compared)
    names = {"application_id": names_of("application_id", ())}
    lines = [CutLine(s.key[0], s.key[1], s.quantity, s.amount) for s in now["line"] if s.key[0]]
    return CutUp(
        parts={
            by: parts_from(
                by, now[by], {s.key[0]: s.amount for s in old[by]}, wanted, names.get(by)
            )
            for by in CUTS
        },
        lines=tuple(sorted(lines, key=lambda line: (-line.amount, line.model, line.meter))),
        before=sum((s.amount for s in old["model"]), ZERO),
    )


def _read(wanted: ChargeFilter) -> dict[str, list[Sum]]:
    where, given = wanted.conditions()
    group = f"grouping({', '.join(CUTS)}), {', '.join(CUTS)}, "
    sql = SUMS.format(group=group, fields=", ".join(CUTS), where=where, by=SETS)
    found: dict[str, list[Sum]] = {by: [] for by in (*CUTS, "line")}
    with connection.cursor() as cursor:
        cursor.execute(sql, given | edges(wanted.start, wanted.end))
        for left_out, *keys, quantity, amount in cursor.fetchall():
            if left_out == LINE:
                found["line"].append(Sum((keys[0], keys[2]), quantity, amount))
            else:
                by = OF_CUT[left_out]
                key: Any = keys[CUTS.index(by)]
                found[by].append(Sum((key,), quantity, amount))
    return found


def line_filter(wanted: ChargeFilter, line: CutLine) -> ChargeFilter:
    return replace(wanted, model=line.model, meter=line.meter)
