"""Tie services of several clusters together: they answer for one model name."""

from collections.abc import Sequence
from typing import Any

from django.db import transaction

from fleet.models import Placement, RolloutSequence, Service
from fleet.rules.sequence import FINAL
from tenants.actions.audit import record
from tenants.errors import Conflict, Invalid, NotFound
from tenants.nudge import nudge
from tenants.rules.access import Permission, Viewer

PUBLISH = "fleet.tasks.publish_routing"


@transaction.atomic
def set_placements(
    viewer: Viewer, service_id: int, names: Sequence[str], *, why: str = ""
) -> Service:
    """Let these services answer for this one's name too, in this order. Empty: it is alone."""
    viewer.require(Permission.MANAGE_FLEET)
    rows = Service.objects.select_for_update(no_key=True, of=("self",))
    home = rows.select_related("cluster").filter(pk=service_id).first()
    if home is None:
        raise NotFound("There is no such service")
    refuse_while_moving(home)
    known = {s.name: s for s in rows.select_related("cluster").filter(name__in=names)}
    if sentence := refuse_members(home, names, known):
        raise Invalid(members=sentence)
    before = named(home)
    Placement.objects.filter(service=home).delete()
    Placement.objects.bulk_create(
        Placement(service=home, member=known[name], position=n) for n, name in enumerate(names, 1)
    )
    record(viewer, "service.place", home, before=before, after=named(home), why=why)
    nudge(PUBLISH)
    return home


def named(home: Service) -> dict[str, Any]:
    rows = Placement.objects.filter(service=home).order_by("position")
    return {"placements": list(rows.values_list("member__name", flat=True))}


def refuse_while_moving(home: Service) -> None:
    ended = [phase.value for phase in FINAL]
    moving = RolloutSequence.objects.filter(service=home).exclude(phase__in=ended).first()
    if moving:
        raise Conflict(f"{moving} goes through its clusters: they stay as they are until it ends")


def refuse_members(home: Service, names: Sequence[str], known: dict[str, Service]) -> str:
    """Empty, or why these cannot answer for it."""
    if len(set(names)) != len(names):
        return "A service stands twice in the list"
    if names and home.cluster is None:
        return f"{home} has no cluster yet: choose one in its settings first"
    if Placement.objects.filter(member=home).exists():
        return f"{home} is a placement of another service itself"
    taken = {home.cluster_id: home.name}
    for name in names:
        if name not in known:
            return f"There is no service {name!r}"
        member = known[name]
        if sentence := refuse_member(home, member):
            return sentence
        if member.cluster_id in taken:
            return f"{name} and {taken[member.cluster_id]} are in one cluster: one of them is spare"
        taken[member.cluster_id] = name
    return ""


def refuse_member(home: Service, member: Service) -> str:
    if member.pk == home.pk:
        return f"{home} answers for itself: name the services of other clusters"
    if member.cluster is None:
        return f"{member} has no cluster yet: choose one in its settings first"
    if Placement.objects.filter(service=member).exists():
        return f"{member} has placements of its own"
    other = Placement.objects.filter(member=member).exclude(service=home).first()
    if other:
        return f"{member} answers for {other.service} already"
    if member.max_model_len < home.max_model_len:
        return (
            f"{member} takes {member.max_model_len:,} tokens and {home} {home.max_model_len:,}:"
            " a request must fit wherever it goes"
        )
    return ""
