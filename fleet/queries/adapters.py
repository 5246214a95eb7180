"""Adapters that answer now, where, and who asked for them lately."""

from collections.abc import Iterable
from datetime import UTC, timedelta

from django.db.models import F, Q, Sum
from django.db.models.functions import Now, TruncDate

from fleet.models import AdapterUse, Deployment, Release, Rollout, Service
from fleet.queries.placements import head_of, members_of
from fleet.rules.adapters import DAYS, Use, apart, gone, lost, refuse_names
from fleet.rules.pins import Pins, pins_from
from tenants.base.scope import fleet_scope
from tenants.queries.tenants import tenants_by_id
from tenants.rules.access import Permission, Viewer


def adapter_names(viewer: Viewer) -> list[str]:
    """What tenants may be granted beside services. Not for themselves: one is made for another."""
    if not viewer.may(Permission.VIEW_FLEET):
        return []
    return sorted({name for _, names in _answering(Q()) for name in names})


def missed(viewer: Viewer, service_id: int, old: Pins, new: Pins) -> tuple[str, ...]:
    """Sentences about adapters in use that the new release does not have."""
    names = gone(old, new)
    return tuple(lost(names, uses_of(viewer, service_id))) if names else ()


def apart_of(rollout: Rollout) -> tuple[str, ...]:
    """Adapters that only one of its two releases has."""
    if rollout.from_release is None:
        return ()
    return apart(pins_from(rollout.from_release.pins), pins_from(rollout.to_release.pins))


def uses_of(viewer: Viewer, service_id: int) -> tuple[Use, ...]:
    """Of the adapters of a service in the last days, the most used first."""
    since = TruncDate(Now() - timedelta(days=DAYS), tzinfo=UTC)
    with fleet_scope():
        rows = AdapterUse.objects.filter(service_id=service_id, day__gt=since)
        sums = rows.values_list("adapter", "tenant_id").annotate(n=Sum("requests"))
        found = sorted(sums, key=lambda row: (-row[2], row[0], row[1]))
    known = tenants_by_id(viewer, sorted({tenant for _, tenant, _ in found}))
    names: dict[str, list[str]] = {}
    requests: dict[str, int] = {}
    for adapter, tenant, n in found:
        name = known[tenant].slug if tenant in known else f"tenant {tenant}"
        names.setdefault(adapter, []).append(name)
        requests[adapter] = requests.get(adapter, 0) + n
    uses = (Use(adapter, requests[adapter], tuple(tenants)) for adapter, tenants in names.items())
    return tuple(sorted(uses, key=lambda use: (-use.requests, use.adapter)))


def refuse_adapters(names: Iterable[str], service: Service) -> list[str]:
    """Names that mean something else already. Placements of one name share its adapters."""
    asked = list(names)
    if not asked:
        return []
    family = [member.pk for member in members_of(head_of(service))]
    services = set(Service.objects.filter(name__in=asked).values_list("name", flat=True))
    others = _answering(~Q(service__in=family))
    elsewhere = {name: other for other, found in others for name in found}
    return refuse_names(asked, services, elsewhere)


def owner_of_adapter(name: str) -> str:
    """The service whose release has an adapter of this name; empty: none."""
    return next((service for service, names in _answering(Q()) if name in names), "")


def _answering(which: Q) -> list[tuple[str, tuple[str, ...]]]:
    """Services, and the adapters of releases that they are at or move to."""
    placed = Deployment.objects.filter(Q(weight__gt=0) | Q(replicas__gt=0)).values("release")
    rows = Release.objects.filter(which, pins__has_key="adapters").filter(
        Q(pk__in=placed) | Q(service__current_release=F("pk"))
    )
    found = rows.order_by("service__name", "pk").values_list("service__name", "pins")
    return [(name, tuple(a["name"] for a in pins["adapters"])) for name, pins in found]
