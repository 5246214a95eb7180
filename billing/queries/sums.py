"""Sums that must agree, compared key by key in the database: opposite mistakes do not cancel.

A comparison groups both sides by the same key (a time, a tenant, a place such as a currency or a
number) in one statement, adds each side up, and names the first keys that differ.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import connection

from tenants.queries.directory import tenant_refs

NAMED = 10  # keys that a check names; of the others it says how many
# {l} and {r} are the numbers of a key on both sides.
OTHER = "{l} <> {r}"
NONE = "NULL::timestamptz"
FLEET = "NULL::bigint"


@dataclass(frozen=True, slots=True)
class Difference:
    """A key whose sides differ. Any of its parts may be missing."""

    at: datetime | None
    tenant_id: int | None
    place: str
    left: Decimal
    right: Decimal


@dataclass(frozen=True, slots=True)
class Check:
    """`left` and `right` are what the sentence compares; `wrong` counts the keys that differ."""

    sentence: str
    left: Decimal
    right: Decimal
    wrong: int = 0
    named: tuple[str, ...] = ()  # the first of them

    @property
    def holds(self) -> bool:
        return not self.wrong

    @property
    def more(self) -> int:
        """Keys that differ and are not named."""
        return self.wrong - len(self.named)

    @property
    def said(self) -> str:
        """What differs, in a line."""
        rest = f"; and {self.more:,} more" if self.more else ""
        return "; ".join(self.named) + rest


@dataclass(frozen=True, slots=True)
class Comparison:
    """Statements of columns (at, tenant, place, a number for each sentence).

    `differs` is when two numbers are not what they should be.
    """

    sentences: tuple[str, ...]
    left: str
    right: str
    differs: str = OTHER

    @property
    def sides(self) -> str:
        """Both in a row for each key: l1, r1, l2, r2 ..."""
        count = range(1, len(self.sentences) + 1)
        names = ", ".join(f"n{i}" for i in count)
        sums = ", ".join(
            f"coalesce(sum(n{i}) FILTER (WHERE is_left), 0)::numeric AS l{i},"
            f" coalesce(sum(n{i}) FILTER (WHERE NOT is_left), 0)::numeric AS r{i}"
            for i in count
        )
        return (
            f"SELECT at, tenant_id, place, {sums} FROM ("
            f"SELECT true AS is_left, a.* FROM ({self.left}) AS a (at, tenant_id, place, {names})"
            f" UNION ALL SELECT false, b.* FROM ({self.right}) AS b (at, tenant_id, place, {names})"
            ") AS both_sides GROUP BY at, tenant_id, place"
        )


@dataclass(frozen=True, slots=True)
class Paired:
    """One statement that has both numbers of each key: at, tenant_id, place, l1, r1 ..."""

    sentences: tuple[str, ...]
    sides: str
    differs: str = OTHER


def wrong_rows(sentence: str, rows: str) -> Paired:
    """`rows` (at, tenant_id, place) are wrong by being there: nothing is what they should be."""
    return Paired((sentence,), f"SELECT w.*, 0 AS l1, 1 AS r1 FROM ({rows}) AS w")


def compare(found: Comparison | Paired, given: Mapping[str, Any]) -> Iterator[Check]:
    """In the scope and the snapshot that are open."""
    with connection.cursor() as cursor:
        cursor.execute(_statement(found), given)
        rows = cursor.fetchall()
    first = {
        place: [_difference(d) for d in json.loads(named or "[]")] for place, *_, named in rows
    }
    slugs = slugs_of(d.tenant_id for differences in first.values() for d in differences)
    for place, left, right, wrong, _ in rows:
        named = tuple(name_of(d, slugs) for d in first[place])
        yield Check(found.sentences[place], left, right, wrong, named)


def _statement(found: Comparison | Paired) -> str:
    parts = []
    for place in range(len(found.sentences)):
        left, right = f"l{place + 1}", f"r{place + 1}"
        differs = found.differs.format(l=left, r=right)
        key = f"jsonb_build_array(at, tenant_id, place, {left}::text, {right}::text)"
        named = (
            f"SELECT jsonb_agg({key})::text FROM (SELECT * FROM sides WHERE {differs}"
            f" ORDER BY at, tenant_id, place LIMIT {NAMED}) AS first"
        )
        parts.append(
            f"SELECT {place} AS sentence, coalesce(sum({left}), 0)::numeric,"
            f" coalesce(sum({right}), 0)::numeric, count(*) FILTER (WHERE {differs}), ({named})"
            " FROM sides"
        )
    every = " UNION ALL ".join(parts)
    return f"WITH sides AS MATERIALIZED ({found.sides}) {every} ORDER BY sentence"


def _difference(row: Sequence[Any]) -> Difference:
    at, tenant_id, place, left, right = row
    moment = datetime.fromisoformat(at) if at else None
    return Difference(moment, tenant_id, place or "", Decimal(left), Decimal(right))


def slugs_of(tenant_ids: Iterable[int | None]) -> dict[int, str]:
    wanted = {pk for pk in tenant_ids if pk}
    return {pk: ref.slug for pk, ref in tenant_refs(wanted).items()} if wanted else {}


def name_of(found: Difference, slugs: Mapping[int, str]) -> str:
    """As people find it: the hour or day, whose it is, what of it, and both numbers."""
    parts = [f"{found.at:%Y-%m-%d %H:%M} UTC"] if found.at else []
    if found.tenant_id is not None:
        parts.append(slugs.get(found.tenant_id, f"tenant {found.tenant_id}"))
    parts += [found.place] if found.place else []
    return f"{', '.join(parts) or 'all'} ({plain(found.left)} and {plain(found.right)})"


def plain(number: Decimal) -> str:
    """Without zeros at the end."""
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
