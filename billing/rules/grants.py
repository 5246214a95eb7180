"""Credits that were granted to an account, and how an invoice draws them down.

Order: the smallest priority first, then what expires first, then what was granted first. A grant
pays for the charges in its scope and never for more: what remains of a line, of all charges in its
scope and of the whole invoice caps it. A line below zero (a correction) lowers the last two.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum

from billing.rules.currencies import to_units
from billing.rules.meters import Meter
from tenants.rules.currencies import EXPONENTS

ZERO = Decimal(0)
NEVER = datetime.max.replace(tzinfo=UTC)
LAST_PRIORITY = 1_000


class GrantState(StrEnum):
    WAITING = "waiting"  # for another person's approval
    ACTIVE = "active"
    REFUSED = "refused"
    EXPIRED = "expired"


class EntryKind(StrEnum):
    GRANTED = "granted"
    USED = "used"
    UNDONE = "undone"  # a credit note gave back what the grant had paid
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Scope:
    """What a grant pays for; empty: every service, every meter."""

    model: str = ""
    meter: str = ""

    def covers(self, model: str, meter: str) -> bool:
        return self.model in ("", model) and self.meter in ("", meter)

    def __str__(self) -> str:
        return ", ".join(part for part in (self.model, self.meter) if part) or "everything"


@dataclass(frozen=True, slots=True)
class GrantTerms:
    """What a person asks for."""

    name: str  # stands on the invoice
    amount: Decimal
    currency: str
    paid: bool  # prepaid: the customer's money; else a promotion
    reference: str  # of the payment, where it was paid
    priority: int
    scope: Scope
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class Balance:
    """A grant with what is left of it."""

    id: int
    name: str
    paid: bool
    priority: int
    expires_at: datetime | None
    scope: Scope
    rest: Decimal

    @property
    def order(self) -> tuple[int, datetime, int]:
        return self.priority, self.expires_at or NEVER, self.id


@dataclass(frozen=True, slots=True)
class Item:
    """A charged line of an invoice, rounded."""

    model: str
    meter: str
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Draw:
    """So much of a grant pays for the line at `place`."""

    grant: Balance
    place: int
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Use:
    """So much of a line is paid by a grant, after what was undone of it."""

    grant_id: int
    name: str
    paid: bool
    has_ended: bool  # it takes nothing back
    amount: Decimal


def undo(uses: Sequence[Use], amount: Decimal) -> list[Use]:
    """What goes back to which grant when so much of a line is credited, in the order of `uses`.

    That is the order in which they were written down, whatever priorities say today.
    """
    found = []
    for use in uses:
        back = min(use.amount, amount)
        if back > 0 and not use.has_ended:
            found.append(replace(use, amount=back))
            amount -= back
    return found


def lost_of(uses: Iterable[Use]) -> Decimal:
    """What promotions paid that have ended: nobody paid it, and nothing can take it back."""
    return sum((u.amount for u in uses if u.has_ended and not u.paid), ZERO)


def draw_down(items: Sequence[Item], grants: Sequence[Balance]) -> list[Draw]:
    drawn = [ZERO] * len(items)
    found: list[Draw] = []
    for grant in sorted(grants, key=lambda g: g.order):
        places = [n for n, item in enumerate(items) if grant.scope.covers(item.model, item.meter)]
        room = min(_room(items, drawn, places), _room(items, drawn, range(len(items))), grant.rest)
        for place in places:
            amount = min(room, items[place].amount - drawn[place])
            if amount > 0:
                drawn[place] += amount
                room -= amount
                found.append(Draw(grant, place, amount))
    return found


def _room(items: Sequence[Item], drawn: Sequence[Decimal], places: Sequence[int]) -> Decimal:
    return sum((items[n].amount - drawn[n] for n in places), ZERO)


def faults_of_grant(terms: GrantTerms, currency: str, now: datetime) -> dict[str, str]:
    """Sentences by field. `currency` is the account's, in which its invoices are."""
    payable = terms.currency in EXPONENTS and terms.amount.is_finite()
    if payable:
        payable = to_units(terms.amount, terms.currency, "HALF_UP") == terms.amount
    return {
        field: sentence
        for field, is_wrong, sentence in (
            (
                "name",
                not 0 < len(terms.name.strip()) <= 120,
                "Name it as the invoice shall show it, in at most 120 characters",
            ),
            (
                "currency",
                terms.currency != currency,
                f"The account is invoiced in {currency}: a credit in {terms.currency} would never"
                " be used",
            ),
            (
                "amount",
                not payable or not 0 < terms.amount < Decimal(10) ** 12,
                f"An amount above 0 that can be paid in {terms.currency}",
            ),
            *_faults_of_use(terms, now),
        )
        if is_wrong
    }


def _faults_of_use(terms: GrantTerms, now: datetime) -> tuple[tuple[str, bool, str], ...]:
    return (
        (
            "reference",
            len(terms.reference) > 64 or terms.paid != bool(terms.reference.strip()),
            "A prepaid credit names its payment's reference, in at most 64 characters; a promotion"
            " has none",
        ),
        (
            "priority",
            not 1 <= terms.priority <= LAST_PRIORITY,
            f"Between 1 (used first) and {LAST_PRIORITY}",
        ),
        (
            "meter",
            terms.scope.meter not in ("", *Meter.__members__.values()),
            f"One of {', '.join(Meter)}, or nothing for all",
        ),
        (
            "expires_at",
            terms.expires_at is not None and terms.expires_at <= now,
            "It must end in the future; leave it empty for a credit that never ends",
        ),
    )
