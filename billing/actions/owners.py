"""Which of the events of a batch are of a tenant and application that there are."""

from collections.abc import Sequence, Set
from typing import Protocol, TypeVar

from billing.rules.events import Reason, Refused
from tenants.queries.directory import application_refs, tenant_refs


class Owner(Protocol):
    @property
    def tenant_id(self) -> int: ...
    @property
    def application_id(self) -> int: ...


class Owned(Protocol):
    """An event that is as it should be by itself."""

    @property
    def event_id(self) -> str: ...
    @property
    def raw(self) -> bytes: ...
    @property
    def event(self) -> Owner: ...


T = TypeVar("T", bound=Owned)


def known_owners(given: Sequence[T], allowed: frozenset[int]) -> tuple[list[T], list[Refused]]:
    """`allowed`: for whom the source may report; empty: for all."""
    owners = application_refs({one.event.application_id for one in given})
    of = {ref.id: ref.tenant_id for ref in owners.values()}

    def is_known(one: T) -> bool:
        tenant_id = one.event.tenant_id
        return of.get(one.event.application_id) == tenant_id and (
            not allowed or tenant_id in allowed
        )

    known = [one for one in given if is_known(one)]
    if len(known) == len(given):
        return known, []
    others = [one for one in given if not is_known(one)]
    tenants = tenant_refs({one.event.tenant_id for one in others})
    return known, [_stranger(one, tenants.keys(), allowed) for one in others]


def _stranger(one: Owned, tenants: Set[int], allowed: frozenset[int]) -> Refused:
    name, event = one.event_id, one.event
    is_there = event.tenant_id in tenants
    if allowed and event.tenant_id not in allowed:
        # Whether there is such a tenant is nothing that this source learns.
        detail = "This source does not report for this tenant"
        whose = event.tenant_id if is_there else None
        return Refused(name, Reason.NOT_ALLOWED, detail, one.raw, whose)
    if not is_there:
        detail = f"There is no tenant {event.tenant_id}"
        return Refused(name, Reason.UNKNOWN_TENANT, detail, one.raw)
    detail = f"Tenant {event.tenant_id} has no application {event.application_id}"
    return Refused(name, Reason.UNKNOWN_APPLICATION, detail, one.raw, event.tenant_id)
