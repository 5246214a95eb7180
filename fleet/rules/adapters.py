"""Adapters of a release that tenants use: what a release without them takes from whom. Pure."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from fleet.rules.pins import Pins

DAYS = 7  # an adapter that was asked for within them is in use


@dataclass(frozen=True, slots=True)
class Use:
    """Of one adapter of a service in the last days. `tenants`: the greatest users first."""

    adapter: str
    requests: int
    tenants: tuple[str, ...]


def names_of(pins: Pins) -> tuple[str, ...]:
    return tuple(adapter.name for adapter in pins.adapters)


def gone(old: Pins, new: Pins) -> set[str]:
    return set(names_of(old)) - set(names_of(new))


def apart(old: Pins, new: Pins) -> tuple[str, ...]:
    """Of one of two releases only: all of its requests go to that one, whatever the weights say."""
    return tuple(sorted(set(names_of(old)) ^ set(names_of(new))))


def lost(names: Collection[str], uses: Iterable[Use]) -> list[str]:
    """A sentence for each of these adapters that is in use."""
    return [
        f"{use.adapter} is in use and no longer answered: {use.requests:,}"
        f" request{'' if use.requests == 1 else 's'} in the last {DAYS} days, of"
        f" {', '.join(use.tenants)}. Give it to the new release, or withdraw it from them first"
        for use in uses
        if use.adapter in names
    ]


def refuse_names(
    names: Iterable[str], services: Collection[str], elsewhere: dict[str, str]
) -> list[str]:
    """Clients name a model and nothing else, so a name means one thing in the whole fleet.

    `elsewhere`: services by the name of an adapter that answers there.
    """
    found = []
    for name in names:
        if name in services:
            found.append(f"{name} is the name of a service: requests for it would go there")
        elif name in elsewhere:
            found.append(f"{name} is an adapter of {elsewhere[name]}: give it a name of its own")
    return found
