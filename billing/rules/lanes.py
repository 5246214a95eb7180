"""Lanes: workers beside each other that never touch the same tenant."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Lane:
    """Tenants whose id leaves `number` when divided by `of`."""

    number: int
    of: int


RATING_LOCK = 7_302  # of advisory locks; a lane's has two numbers, this one and its own
WHOLE = Lane(0, 1)
LANES = (Lane(0, 2), Lane(1, 2))  # as many as two cores can serve
