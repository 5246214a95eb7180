"""Whose message is next: those of a slow or silent receiver hold up nobody else's.

Tenants take turns, and receivers of the operator; at most one worker sends to each of them at a
time. A receiver that does not answer is not asked again in the same pass.
"""

import time
from collections.abc import Hashable, Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db.models import BigIntegerField, ExpressionWrapper, F, QuerySet, Window
from django.db.models.functions import Coalesce, Now, RowNumber

from billing.clients.delivery import Answer


class Turn(NamedTuple):
    id: int
    line: int  # whose turn it is


def next_turns(waiting: QuerySet[Any], now: datetime, *, receiver: str, most: int) -> list[Turn]:
    """What is due. `receiver` is the column of whom it is for, where it is no tenant's."""
    own = ExpressionWrapper(-F(receiver), BigIntegerField())
    lines = waiting.annotate(line=Coalesce("tenant_id", own, 0, output_field=BigIntegerField()))
    # What was done is most of a table and has no time to look again: an index leaves it out.
    held = lines.filter(look_again__isnull=False, claim_until__gt=Now()).values("line")
    order = ("look_again", "id")
    due = lines.filter(look_again__lte=now).exclude(line__in=held)
    turns = due.annotate(turn=Window(RowNumber(), partition_by="line", order_by=order))
    return [Turn(*row) for row in turns.order_by("turn", *order).values_list("id", "line")[:most]]


class Round:
    """One pass over messages: what time it is in it, and which receivers did not answer."""

    def __init__(self, now: datetime, seconds: float) -> None:
        self._now, self._seconds = now, seconds
        self._began = time.monotonic()
        self._silent: dict[Hashable, str] = {}
        self._taken: set[int] = set()

    @property
    def now(self) -> datetime:
        """A message is signed at the time at which it leaves: receivers take none that is old."""
        return self._now + timedelta(seconds=self._lasted)

    @property
    def is_over(self) -> bool:
        """Nothing more begins: the rest is for the next pass."""
        return self._lasted >= self._seconds

    def of(self, turns: Iterable[Turn]) -> Iterator[Turn]:
        """Those that begin: while there is time, and of lines that nobody else is at."""
        for turn in turns:
            if self.is_over:
                return
            if turn.line not in self._taken:
                yield turn

    def leave(self, turn: Turn) -> None:
        """Another worker was faster: the rest of the line is its, too."""
        self._taken.add(turn.line)

    @property
    def _lasted(self) -> float:
        return time.monotonic() - self._began

    def heard(self, receiver: Hashable, answer: Answer) -> None:
        if answer.status is None and not answer.is_final and not answer.taken:
            self._silent.setdefault(receiver, answer.why)

    def unsent(self, receiver: Hashable) -> Answer | None:
        """What a message counts as that is not sent, because its receiver is silent now."""
        if why := self._silent.get(receiver):
            return Answer(None, f"Not sent, as the receiver did not answer just before: {why}")
        return None
