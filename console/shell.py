"""What every page's frame shows: who is signed in, the environment, counts, freshness.

Everything is computed when a template first asks for it: fragments and redirects pay nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.http import HttpRequest
from django.urls import NoReverseMatch
from django.utils import timezone
from django.utils.functional import SimpleLazyObject

from console.addresses import address
from console.ranges import CHOICES
from fleet.queries.gateways import read_gateways
from fleet.queries.overview import FleetCounts, fleet_counts
from tenants.rules.access import Permission, Viewer


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the navigation, shown when a route has its `name` and the viewer may see it."""

    title: str
    icon: str
    name: str
    permission: Permission
    counter: str = ""  # a key of COUNTERS
    also: tuple[str, ...] = ()  # how addresses of its pages begin that do not begin like its own


@dataclass(frozen=True, slots=True)
class Count:
    number: int
    noun: str  # "open", "need attention": read aloud after the number
    bad: bool = False


NAVIGATION: tuple[tuple[str, tuple[Entry, ...]], ...] = (
    (
        "Operate",
        (
            Entry("Overview", "layout-dashboard", "overview", Permission.VIEW),
            Entry("Services", "apps", "services", Permission.VIEW_FLEET),
            Entry("Rollouts", "rocket", "rollouts", Permission.VIEW_FLEET, "rollouts"),
            Entry(
                "Drills", "arrow-back-up", "drills", Permission.VIEW_FLEET, also=("/new/drill/",)
            ),
            Entry("Releases", "package", "releases", Permission.VIEW_FLEET),
            Entry("Change calendar", "calendar-time", "freezes", Permission.VIEW_FLEET),
            Entry(
                "Clusters and nodes", "topology-star-3", "clusters", Permission.VIEW_FLEET, "nodes"
            ),
            Entry("Requests", "list-search", "requests", Permission.VIEW),
        ),
    ),
    (
        "Tenants",
        (
            Entry("Tenants", "buildings", "tenants", Permission.VIEW),
            Entry("Identities", "id", "people", Permission.MANAGE_PEOPLE),
            Entry("Quotas", "gauge", "quotas", Permission.VIEW),
            Entry("Degradation", "activity", "degradation", Permission.VIEW, "findings"),
        ),
    ),
    (
        "Money",
        (
            Entry(
                "Billing",
                "receipt-2",
                "billing",
                Permission.VIEW_MONEY,
                also=("/quarantine/", "/rating-runs/"),
            ),
            Entry(
                "Invoices",
                "file-invoice",
                "invoices",
                Permission.VIEW_MONEY,
                also=("/credit-notes/",),
            ),
            Entry(
                "Periods", "calendar", "periods", Permission.VIEW_MONEY, also=("/reconciliation/",)
            ),
            Entry(
                "Accounts",
                "wallet",
                "billing_accounts",
                Permission.VIEW_MONEY,
                also=("/credits/", "/journal/"),
            ),
            Entry("Prices", "tags", "prices", Permission.VIEW_MONEY, also=("/new/contract/",)),
            Entry(
                "Exports",
                "file-export",
                "exports",
                Permission.VIEW_MONEY,
                also=("/ledger-accounts/", "/new/export-"),
            ),
            Entry(
                "Webhooks", "webhook", "webhooks", Permission.VIEW_MONEY, also=("/new/webhook/",)
            ),
            Entry("Economics", "chart-bar", "economics", Permission.VIEW_MONEY),
        ),
    ),
    (
        "Assurance",
        (
            Entry("Approvals", "user-check", "approvals", Permission.VIEW_FLEET, "approvals"),
            Entry("Evidence", "shield-check", "audit", Permission.VIEW),
        ),
    ),
)

# What the account menu offers, as (title, icon, route).
ACCOUNT = (
    ("Sessions", "device-desktop", "usersessions_list"),
    ("Second step (TOTP)", "shield-lock", "mfa_index"),
    ("Password", "key", "account_change_password"),
    ("Access tokens", "api", "tokens"),
    ("What I did", "history", "my_activity"),
)

Counter = Callable[[FleetCounts], Count]
COUNTERS: dict[str, Counter] = {
    "rollouts": lambda c: Count(c.open_rollouts, "open"),
    "nodes": lambda c: Count(c.nodes_out, "out of service", bad=True),
    "findings": lambda c: Count(c.open_findings, "open findings", bad=True),
    "approvals": lambda c: Count(c.waiting_changes, "waiting"),
}


@dataclass(frozen=True, slots=True)
class Freshness:
    """One line at the foot of the navigation: a moment that ages, or a text."""

    title: str
    moment: datetime | None = None
    text: str = ""


def context(request: HttpRequest) -> dict[str, Any]:
    viewer = getattr(request, "viewer", None)
    return {
        "viewer": viewer,
        "environment": settings.QM_ENVIRONMENT,
        "gateway_url": settings.QM_GATEWAY_URL,
        "shell": SimpleLazyObject(lambda: shell(request, viewer)),
    }


def shell(request: HttpRequest, viewer: Viewer | None) -> dict[str, Any]:
    if viewer is None:
        return {"groups": [], "account": []}
    counts = fleet_counts(viewer)
    return {
        "groups": groups(page_of(request), viewer, counts),
        "account": [
            {"title": title, "icon": icon, "url": url}
            for title, icon, name in ACCOUNT
            if (url := url_of(name))
        ],
        "name": viewer.email.split("@")[0],
        "roles": " · ".join(viewer.roles) or "no role",
        "ranges": list(CHOICES.items()),
        "other_parameters": [
            (k, v) for k, v in request.GET.lists() if k not in ("from", "to", "page", "cursor")
        ],
        "search": url_of("search"),
        "freshness": freshness(request, counts) if viewer.may(Permission.VIEW_FLEET) else [],
    }


def page_of(request: HttpRequest) -> str:
    """The path of what the reader has before them, also while a part of it asks for itself."""
    htmx = getattr(request, "htmx", None)
    address = htmx.current_url_abs_path if htmx else None
    return urlsplit(address).path if address else request.path


def groups(path: str, viewer: Viewer, counts: FleetCounts | None) -> list[dict[str, Any]]:
    shown = []
    for title, entries in NAVIGATION:
        items = [
            item(path, entry, url, counts)
            for entry in entries
            if sees(viewer, entry.permission) and (url := url_of(entry.name))
        ]
        if items:
            shown.append({"title": title, "items": items})
    return shown


def item(path: str, entry: Entry, url: str, counts: FleetCounts | None) -> dict[str, Any]:
    counter = COUNTERS.get(entry.counter)
    count = counter(counts) if counter and counts else None
    begins = entry.also if url == "/" else (url, *entry.also)
    here = path == url or path.startswith(begins)
    return {
        "title": entry.title,
        "icon": entry.icon,
        "url": url,
        "current": here,
        "count": count.number if count else 0,
        "counted": count.noun if count else "",
        "bad": bool(count and count.bad),
    }


def sees(viewer: Viewer, permission: Permission) -> bool:
    """On the fleet, or on the slice of any tenant of theirs."""
    return viewer.may(permission) or any(viewer.may(permission, t) for t in viewer.tenant_ids)


def freshness(request: HttpRequest, counts: FleetCounts) -> list[Freshness]:
    """The age of the oldest picture, and how many gateways have the newest versions."""
    lines = []
    if counts.clusters:
        lines.append(Freshness("Cluster data", counts.observed_at, "not observed yet"))
    known = getattr(request, "gateways", None) or read_gateways(timezone.now())
    for title, newest, behind in (
        ("Policy", known.policy_version, sum(bool(w.policy_behind) for w in known.workers)),
        ("Routing", known.routing_version, sum(bool(w.routing_behind) for w in known.workers)),
    ):
        all_of_them = len(known.workers)
        text = "not known" if known.trouble else f"{all_of_them - behind}/{all_of_them} gateways"
        lines.append(Freshness(f"{title} v{newest}", text=text))
    return lines


def url_of(name: str) -> str:
    try:
        return address(name)
    except NoReverseMatch:
        return ""
