"""The command palette: objects by name or id, over everything the viewer may see."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from django.http import JsonResponse
from django.urls import reverse
from django.views.decorators.http import require_GET

from console.access import ViewerRequest
from tenants.queries import keys, people, tenants
from tenants.rules.access import Permission, Viewer

MOST = 6  # of a kind
SHORTEST = 2


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


FINDERS: tuple[Finder, ...] = (find_tenants, find_applications, find_keys, find_people)
