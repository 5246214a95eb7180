"""Put ids in the place of slugs, for events of gateways that know tenants by name."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from billing.rules.events import Refused
from billing.rules.named_events import MARK, Names, names_in, with_ids
from tenants.base.scope import fleet_scope
from tenants.queries.directory import named_applications, tenants_of_source


@dataclass(frozen=True, slots=True)
class Named:
    batch: Sequence[bytes]  # in the order in which it was sent
    raws: list[bytes]  # of them, those to be judged
    refused: list[Refused]  # with what was sent
    sent: dict[bytes, bytes]  # what was sent, by what is judged in its place

    def as_sent(self, bad: Sequence[Refused]) -> list[Refused]:
        """What waits in quarantine is what the gateway sent; in the order of its batch.

        Of equal events each has a place of its own.
        """
        if not bad:
            return []
        places: dict[bytes, list[int]] = {}
        for position in range(len(self.batch) - 1, -1, -1):
            places.setdefault(self.batch[position], []).append(position)
        found = [
            replace(b, position=places[b.raw].pop(), raw=self.sent.get(b.raw, b.raw)) for b in bad
        ]
        return sorted(found, key=lambda b: b.position)


def by_ids(raws: list[bytes], source_id: int) -> Named:
    """A batch that gives ids costs a look at its bytes and no query."""
    if not any(MARK in raw for raw in raws):
        return Named(raws, raws, [], {})
    names = {raw: found for raw in raws if (found := names_in(raw)) is not None}
    ids = _ids_of(names.values(), source_id) if names else {}
    batch: list[bytes] = []
    plain: list[bytes] = []
    refused: list[Refused] = []
    sent: dict[bytes, bytes] = {}
    for raw in raws:
        made = with_ids(raw, names[raw], ids) if raw in names else raw
        if isinstance(made, Refused):
            refused.append(made)
            batch.append(raw)
            continue
        batch.append(made)
        plain.append(made)
        if made is not raw:
            sent[made] = raw
    return Named(batch, plain, refused, sent)


def _ids_of(names: Iterable[Names], source_id: int) -> dict[Names, tuple[int, int]]:
    """To a source that reports for some tenants only, the others do not exist."""
    with fleet_scope():
        ids = named_applications(names)
        allowed = tenants_of_source(source_id)
    return {name: found for name, found in ids.items() if not allowed or found[0] in allowed}
