"""Publish a version of prices by four eyes: propose it, and once approved let it hold.

The approval binds to a digest of book, range and every price. `publish_approved` looks for
approved ones; a proposal that was turned down frees its draft.
"""

from collections.abc import Iterable
from datetime import datetime
from decimal import ROUND_CEILING, Decimal
from typing import Any

from django.db import connection, transaction
from django.db.models.functions import Now

from billing.actions.events import tell
from billing.actions.prices import find_book, find_draft
from billing.models import PriceBook, PriceBookVersion
from billing.queries.books import lines_of, terms_of
from billing.rules.meters import Meter
from billing.rules.prices import PriceLine, fault_of_end, fault_of_start, said_place
from billing.rules.prices.terms import Terms
from billing.rules.webhooks import Kind
from tenants.actions import changes
from tenants.actions.audit import record
from tenants.actions.prices import PublishedPrice, publish_prices
from tenants.base.scope import fleet_scope
from tenants.errors import Conflict, Forbidden, Invalid
from tenants.nudge import nudge
from tenants.queries.changes import Decision, decision_of
from tenants.rules.access import Permission, Viewer, system_viewer
from tenants.rules.changes import digest_of

KIND = "price_version"
PICO = 10**12  # a price for one token with 12 decimals is a whole number of micro-units a million
CUT = """
UPDATE price_book_version SET effective = effective * tstzrange(NULL, %s)
WHERE book_id = %s AND published_at IS NOT NULL AND NOT isempty(effective)
    AND coalesce(upper(effective), 'infinity') > %s
"""


@transaction.atomic
def propose_version(
    viewer: Viewer,
    book_slug: str,
    number: int,
    *,
    starts_at: datetime,
    now: datetime,
    ends_at: datetime | None = None,
    why: str = "",
    expected: int | None = None,
) -> PriceBookVersion:
    """Ask somebody else to approve that a draft holds from `starts_at`; a contract may end."""
    viewer.require(Permission.MANAGE_MONEY)
    book = find_book(book_slug)
    version = find_draft(book, number)
    if version.change_id is not None:
        raise Conflict(f"Version {number} waits for approval already")
    _check_range(book, starts_at, ends_at, now=now, why=why)
    book.change(expected)
    change = changes.propose(
        viewer,
        kind=KIND,
        target_id=version.pk,
        title=f"{book.slug}-v{number} holds from {starts_at:%Y-%m-%d %H:%M} UTC",
        payload=payload_of(book, version, starts_at, ends_at),
        reason=why,
        permission=Permission.MANAGE_MONEY,
    )
    PriceBookVersion.objects.filter(pk=version.pk).update(change_id=change.pk)
    version.refresh_from_db()
    after = {"number": number, "starts_at": starts_at, "change": change.pk}
    record(viewer, "price_book.propose", version, after=after, why=why, tenant_id=book.tenant_id)
    return version


def payload_of(
    book: PriceBook, version: PriceBookVersion, starts_at: datetime, ends_at: datetime | None
) -> dict[str, Any]:
    """Everything that the approval binds to."""
    return {
        "book": book.slug,
        "currency": book.currency,
        "version": version.number,
        "starts_at": starts_at.isoformat(),
        "ends_at": ends_at.isoformat() if ends_at else None,
        "prices": [shown(line) for line in lines_of(version)],
    }


def shown(line: PriceLine) -> str:
    """What has no place reads as it always did: proposals that wait are bound to their text."""
    cells = line.model or "*", line.meter or "*", line.text, line.traffic_class, said_place(line)
    return ", ".join(cell for cell in cells if cell)


def _check_range(
    book: PriceBook, starts_at: datetime, ends_at: datetime | None, *, now: datetime, why: str
) -> None:
    if fault := fault_of_start(starts_at, now=now, why=why):
        raise Invalid(starts_at=fault)
    if ends_at is not None and book.tenant_id is None:
        raise Invalid(ends_at="List prices hold until the next version; only a contract ends")
    if fault := fault_of_end(starts_at, ends_at):
        raise Invalid(ends_at=fault)


def publish_approved(now: datetime) -> int:
    """Publish what was approved, free what was turned down. Answers how many hold from now on."""
    with fleet_scope():
        waiting = PriceBookVersion.objects.filter(published_at=None, change_id__isnull=False)
        found = [(v.pk, decision_of(v.change_id or 0)) for v in waiting.order_by("id")]
    return sum(_settle(pk, decision, now) for pk, decision in found if decision.is_final)


@transaction.atomic
def _settle(version_id: int, decision: Decision, now: datetime) -> int:
    with fleet_scope():
        rows = PriceBookVersion.objects.select_related("book").filter(published_at=None)
        version = rows.select_for_update(of=("self",)).filter(pk=version_id).first()
        if version is None or version.change_id is None:
            return 0
        starts_at = datetime.fromisoformat(decision.payload["starts_at"])
        end = decision.payload["ends_at"]
        ends_at = datetime.fromisoformat(end) if end else None
        same = digest_of(payload_of(version.book, version, starts_at, ends_at)) == decision.digest
        if not decision.is_approved or not same:
            PriceBookVersion.objects.filter(pk=version_id).update(change_id=None)
            return 0
        machine = system_viewer("prices", [Permission.MANAGE_MONEY])
        by = f"{decision.requester}, approved by {decision.decider}"
        _publish(machine, version, (starts_at, ends_at), by=by, now=now, why=decision.reason)
        return 1


@transaction.atomic
def publish_version(
    viewer: Viewer,
    book_slug: str,
    number: int,
    *,
    starts_at: datetime,
    now: datetime,
    ends_at: datetime | None = None,
    why: str = "",
) -> PriceBookVersion:
    """Let a draft hold without an approval: for the machine alone, which has no second person."""
    viewer.require(Permission.MANAGE_MONEY)
    if viewer.via != "system":
        raise Forbidden("Prices are published by four eyes: propose the version to an approver")
    book = find_book(book_slug)
    version = find_draft(book, number)
    _check_range(book, starts_at, ends_at, now=now, why=why)
    _publish(viewer, version, (starts_at, ends_at), by=viewer.email, now=now, why=why)
    return version


def _publish(
    viewer: Viewer,
    version: PriceBookVersion,
    span: tuple[datetime, datetime | None],
    *,
    by: str,
    now: datetime,
    why: str,
) -> None:
    """In place of every version that would hold then. Hours that were rated at other prices are
    rated again: reversals and corrected rows."""
    book, starts_at = version.book, span[0]
    book.change(None)
    with connection.cursor() as cursor:
        cursor.execute(CUT, [starts_at, book.pk, starts_at])
    PriceBookVersion.objects.filter(pk=version.pk).update(
        published_at=Now(), published_by=by[:254], effective=span
    )
    version.refresh_from_db()
    after = {"number": version.number, "starts_at": starts_at.isoformat()}
    record(viewer, "price_book.publish", version, after=after, why=why, tenant_id=book.tenant_id)
    told = {
        "book": book.slug,
        "version": version.number,
        "currency": book.currency,
        "starts_at": starts_at.isoformat(),
        "ends_at": span[1].isoformat() if span[1] else None,
        "published_by": version.published_by,
    }
    subject = f"{book.slug}, version {version.number}"
    tell(Kind.PRICES, subject, told, tenant_id=book.tenant_id, now=now)
    if starts_at <= now:
        tell_gateways(viewer, now)
    nudge("billing.tasks.rate")


def tell_gateways(viewer: Viewer, now: datetime) -> None:
    """Give gateways the list prices that hold now, from the oldest book: holds are estimates."""
    versions = PriceBookVersion.objects.filter(effective__contains=now, book__tenant_id=None)
    version = versions.order_by("book_id").first()
    if version is not None:
        publish_prices(viewer, gateway_prices(version))


def gateway_prices(version: PriceBookVersion) -> dict[str, PublishedPrice]:
    """Prices for every class; gateways hold by these, the ledger rates by class and month."""
    by_model: dict[str, dict[str, int]] = {}
    own = version.prices.filter(traffic_class="", runs_on="")
    for price in own.exclude(kind="factor"):
        by_model.setdefault(price.model, {})[price.meter] = _pico(terms_of(price))
    return {
        model: PublishedPrice(
            version=version.number,
            prompt=found[Meter.PROMPT],
            cached=found[Meter.CACHED],
            completion=found[Meter.COMPLETION],
        )
        for model, found in by_model.items()
    }


def _pico(terms: Terms) -> int:
    """The dearest tier: a hold that is too small would let a budget be overrun."""
    prices: Iterable[Decimal] = (terms.unit_price, *(t.unit_price for t in terms.tiers))
    return int((max(prices) * PICO).to_integral_value(ROUND_CEILING))
