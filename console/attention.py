"""What needs a person, from all parts of the house, as lines that lead to a page."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from urllib.parse import urlencode

from billing.queries.archive import unwritten_files
from billing.queries.commitments import Ending, list_ending
from billing.queries.completeness import Completeness, completeness
from billing.queries.money import budgets, month_amounts
from console import figures
from console.addresses import address
from fleet.queries.gateways import Gateways
from fleet.queries.overview import Attention, Urgency
from tenants.queries.directory import TenantRef, tenant_refs
from tenants.rules.access import Permission, Viewer
from tenants.rules.quotas import month_of

BUDGET_NEAR = Decimal("0.75")
MINIMUM_DAYS = 7  # before its end a minimum hurts soon; earlier, it waits for a person
SPOOL_SECONDS = 60.0  # a usage event that waits longer than this is late
ACTS = {
    "finding": "See the causes",
    "service": "Open the service",
    "rollout": "Open the rollout",
    "change": "Review and decide",
    "nodes": "Open the nodes",
    "cluster": "Open the cluster",
    "drill": "Read the report",
    "drills": "Open the drills",
}


@dataclass(frozen=True, slots=True)
class Line:
    urgency: Urgency
    title: str
    why: str
    url: str
    act: str
    since: datetime | None = None
    until: datetime | None = None
    tenants: tuple[str, ...] = ()


def fleet_lines(items: Iterable[Attention]) -> list[Line]:
    return [
        Line(
            item.urgency, item.title, item.why, url_of(item), ACTS[item.kind], item.since,
            item.until, item.tenants,
        )
        for item in items
    ]  # fmt: skip


def url_of(item: Attention) -> str:
    if item.kind == "nodes":
        return address("nodes") + "?" + urlencode({"state": item.key})
    if item.kind == "drills":
        return address("drills")
    if item.kind == "finding":
        place = {"service": item.key, "class": item.traffic_class}
        return address("tenant_degradation", item.tenants[0]) + "?" + urlencode(place)
    names = {"change": "approval"}
    key = int(item.key) if item.key.isdecimal() else item.key
    return address(names.get(item.kind, item.kind), key)


def money_lines(viewer: Viewer, now: datetime) -> tuple[list[Line], Completeness | None]:
    """Budgets near their end, and usage that is not charged. Nothing for who sees no money."""
    if not viewer.may(Permission.VIEW_MONEY):
        return [], None
    month = month_of(now, "UTC")
    state = completeness(viewer, month.starts_at, month.ends_at)
    limits = budgets()
    spent = month_amounts(viewer, now=now) if limits else {}
    near = [pk for pk, limit in limits.items() if spent.get(pk, 0) >= BUDGET_NEAR * limit]
    names = tenant_refs(near) if near else {}
    return [*budget_lines(limits, spent, names), *incomplete_lines(state)], state


def budget_lines(
    limits: Mapping[int, Decimal], spent: Mapping[int, Decimal], tenants: Mapping[int, TenantRef]
) -> list[Line]:
    """One line for each of `tenants`, the most used budget first; amounts by tenant id."""
    used = {pk: spent[pk] / limits[pk] for pk in tenants if limits.get(pk)}
    return [
        budget_line(tenants[pk], spent[pk], limits[pk], share)
        for pk, share in sorted(used.items(), key=lambda item: -item[1])
    ]


def budget_line(tenant: TenantRef, spent: Decimal, limit: Decimal, share: Decimal) -> Line:
    over = share >= 1
    amounts = " of ".join(figures.money(a, tenant.currency) for a in (spent, limit))
    return Line(
        Urgency.NOW if over else Urgency.SOON,
        f"{tenant.slug}'s budget is used up" if over else f"{tenant.slug}'s budget ends",
        f"{amounts} used ({figures.percent(share)}). The limit is hard: requests"
        f" {'are' if over else 'will be'} rejected.",
        address("tenant_billing", tenant.slug),
        "Review the budget",
        tenants=(tenant.slug,),
    )


def commitment_lines(viewer: Viewer, now: datetime) -> list[Line]:
    """Minima of contracts that end soon. A tenant's people see their own."""
    if not viewer.may_somewhere(Permission.VIEW_MONEY):
        return []
    return [commitment_line(minimum) for minimum in list_ending(viewer, now=now)]


def commitment_line(minimum: Ending) -> Line:
    slug, days = minimum.tenant.slug, minimum.days_left
    return Line(
        Urgency.SOON if days <= MINIMUM_DAYS else Urgency.PERSON,
        f"{slug}'s minimum ends in {days} day{'s' * (days != 1)}",
        f"{figures.money(minimum.amount, minimum.currency)} a month; what is unused of the last one"
        " is charged. Then the list holds, unless a next version is published",
        address("commitments") + "?" + urlencode({"tenant": slug}),
        "See what is used",
        until=minimum.ends_at,
        tenants=(slug,),
    )


def incomplete_lines(state: Completeness) -> list[Line]:
    lines = []
    if state.unpriced_rows:
        named = ", ".join(state.unpriced_models)
        lines.append(
            Line(
                Urgency.PERSON,
                f"Sums of usage without a price: {state.unpriced_rows:,}",
                f"{named}: kept and not billed as zero until a price covers them",
                address("prices") + "#unpriced",
                "Add a price",
            )
        )
    if bad := sum(state.quarantined.values()):
        reasons = ", ".join(f"{n:,} {reason}" for reason, n in state.quarantined.items())
        lines.append(
            Line(
                Urgency.PERSON,
                f"{bad:,} usage event{'s' * (bad > 1)} could not be taken",
                f"They wait in quarantine: {reasons}",
                address("quarantine"),
                "See why",
            )
        )
    return lines


def archive_lines(viewer: Viewer) -> list[Line]:
    """Requests whose file could not be written: their day stays, and the table grows."""
    failed = unwritten_files(viewer) if viewer.may(Permission.VIEW_MONEY) else []
    if not failed:
        return []
    count = f"{len(failed):,} part{'s' * (len(failed) > 1)} of requests"
    return [
        Line(
            Urgency.PERSON,
            f"No file could be written of {count}",
            f"{failed[0].part}: {failed[0].why}. Nothing is dropped until its file is there",
            address("usage_parts"),
            "See what is kept",
            since=failed[0].written_at,
        )
    ]


def gateway_lines(gateways: Gateways, now: datetime) -> list[Line]:
    here = address("overview") + "#h-gw"
    if gateways.trouble:
        why = f"{gateways.trouble}. Gateways go on with what they know; limits are not shared"
        return [Line(Urgency.NOW, "The quota store does not answer", why, here, "See gateways")]
    lines = []
    for w in gateways.workers:
        if w.has_drifted and w.age_seconds < SPOOL_SECONDS:
            why = f"policy {w.policy_behind} and routing {w.routing_behind} versions behind"
            title = f"Gateway {w.worker} has not applied the newest versions"
            lines.append(Line(Urgency.SOON, title, why, here, "See gateways"))
        if w.spool_oldest_seconds > SPOOL_SECONDS:
            waited = timedelta(seconds=w.spool_oldest_seconds)
            why = f"{w.spool_events:,} events wait, the oldest {figures.duration(waited)}"
            title = f"Usage of gateway {w.worker} arrives late"
            lines.append(Line(Urgency.SOON, title, why, here, "See gateways", now - waited))
    return lines
