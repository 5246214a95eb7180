"""The command palette: objects by name or id, over everything the viewer may see."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from uuid import UUID

from django.http import JsonResponse
from django.urls import reverse
from django.views.decorators.http import require_GET

from billing.queries import requests
from console.access import ViewerRequest
from fleet.queries import releases, rollouts, services
from tenants.errors import ConsoleError
from tenants.queries import keys, people, tenants
from tenants.rules.access import Permission, Viewer

MOST = 6  # of a kind
SHORTEST = 2
LONGEST_NUMBER = 19
HEXADECIMAL = re.compile(r"[0-9a-f]{6,64}")


@dataclass(frozen=True, slots=True)
class Hit:
    title: str
    kind: str
    url: str


Finder = Callable[[Viewer, str], Iterator[Hit]]


@require_GET
def search(request: ViewerRequest) -> JsonResponse:
    text = request.GET.get("q", "").strip()
    hits: list[Hit] = []
    if len(text) >= SHORTEST:
        for find in FINDERS:
            hits.extend(find(request.viewer, text))
    found = [{"title": h.title, "kind": h.kind, "url": h.url} for h in hits]
    response = JsonResponse({"results": found})
    response["Cache-Control"] = "no-store"
    return response


def find_tenants(viewer: Viewer, text: str) -> Iterator[Hit]:
    if viewer.may_somewhere(Permission.VIEW):
        for t in tenants.find_tenants(viewer, text)[:MOST]:
            yield Hit(t.slug, "tenant", reverse("tenant", args=[t.slug]))


def find_applications(viewer: Viewer, text: str) -> Iterator[Hit]:
    if viewer.may_somewhere(Permission.VIEW):
        for a in tenants.find_applications(viewer, text)[:MOST]:
            url = reverse("tenant_applications", args=[a.tenant.slug])
            yield Hit(f"{a.tenant.slug} / {a.slug}", "application", f"{url}#app-{a.slug}")


def find_keys(viewer: Viewer, text: str) -> Iterator[Hit]:
    if viewer.may_somewhere(Permission.VIEW):
        for k in keys.search(keys.list_keys(viewer), text)[:MOST]:
            url = reverse("tenant_applications", args=[k.tenant.slug])
            title = f"{k.name} ({k}) of {k.tenant.slug}"
            yield Hit(title, "API key", f"{url}?show=all#key-{k.public_id}")


def find_people(viewer: Viewer, text: str) -> Iterator[Hit]:
    if viewer.may(Permission.MANAGE_PEOPLE):
        for p in people.list_people(viewer, search=text)[:MOST]:
            yield Hit(p.email, "person", reverse("person", args=[p.pk]))


def find_services(viewer: Viewer, text: str) -> Iterator[Hit]:
    if viewer.may(Permission.VIEW_FLEET):
        names = [n for n in services.service_names(viewer).values() if text.lower() in n.lower()]
        for name in names[:MOST]:
            yield Hit(name, "service", reverse("service", args=[name]))


def find_rollouts(viewer: Viewer, text: str) -> Iterator[Hit]:
    """By id, as in RO-12 or 12; by the service's name the newest ones."""
    if not viewer.may(Permission.VIEW_FLEET):
        return
    rows = rollouts.rollouts(viewer).defer("manifests")
    number = text.lower().removeprefix("ro-")
    if number.isdecimal() and len(number) < LONGEST_NUMBER:
        rows = rows.filter(pk=int(number))
    else:
        rows = rows.filter(service__name__icontains=text)
    for r in rows[:MOST]:
        title = f"{r} of {r.service.name}: {r.phase.replace('_', ' ')}"
        yield Hit(title, "rollout", reverse("rollout", args=[r.pk]))


def find_releases(viewer: Viewer, text: str) -> Iterator[Hit]:
    """By fingerprint, as in rel-1f2e3d4c5b6a, or the digest's beginning."""
    digest = text.lower().removeprefix("rel-").removeprefix("sha256:")
    if not viewer.may(Permission.VIEW_FLEET) or not HEXADECIMAL.fullmatch(digest):
        return
    for r in releases.releases(viewer).filter(digest__startswith=digest)[:MOST]:
        yield Hit(f"{r} of {r.service.name}", "release", reverse("release", args=[r.pk]))


def find_request(viewer: Viewer, text: str) -> Iterator[Hit]:
    """By its whole id, which answers and logs carry."""
    try:
        found = requests.get_request(viewer, str(UUID(text)))
    except (ValueError, ConsoleError):
        return
    yield Hit(f"Request {text}", "request", reverse("request", args=[found.row.request_id]))


FINDERS: tuple[Finder, ...] = (
    find_tenants,
    find_services,
    find_rollouts,
    find_releases,
    find_applications,
    find_keys,
    find_people,
    find_request,
)
