"""A year of two tenants, simulated from a seed: what people, gateways and workers do in it.

Every act may be killed at any of its statements, as a worker that dies is: its transaction is
gone, and whoever comes next does it again.
"""

import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from django.db import connection
from django.db.models import Q, Sum

from billing.actions.accounts import record_payment
from billing.actions.calendars import keep_periods
from billing.actions.contracts import create_contract
from billing.actions.credits import Given, issue_credit_note
from billing.actions.exchange import record_rate
from billing.actions.exports import request_export
from billing.actions.grants import expire_due
from billing.actions.ingest import ingest
from billing.actions.invoices import issue_invoices
from billing.actions.periods import (
    apply_decisions,
    ask_to_reopen,
    close,
    start_closing,
)
from billing.actions.prices import create_book
from billing.actions.rating import rate_due
from billing.actions.rollup import roll_up
from billing.drive.exports import run_due
from billing.models import BillingPeriod, CreditNote, ExportJob, Invoice, JournalLeg
from billing.queries.exports import open_export
from billing.queries.invoices import get_invoice
from billing.rules.exchange import Recorded
from billing.rules.prices import read_line
from tenants.actions import changes
from tenants.base.scope import fleet_scope
from tenants.errors import Conflict
from tenants.models import ChangeRequest
from tenants.queries.directory import tenant_refs
from tests.billing.books import GRACE, engines_agree, set_account
from tests.billing.factories import SYSTEM, batch, usage
from tests.billing.granted import granted

HOUR = timedelta(hours=1)
WORKER = "w0"  # of the gateway
FOREIGN = "CHF"  # in which one of the two is invoiced
OPENED = datetime(2026, 1, 1, tzinfo=UTC)
MONTHS = tuple(f"2026-{n:02}" for n in range(1, 13))
LATEST = timedelta(days=60)
REST = [
    ["chat", "cached", "0.0517"], ["code", "cached", "0.1"], ["code", "completion", "5.03"],
    ["chat", "kept_prefix", "0.0271"], ["code", "kept_prefix", "tiered 9:0.03 rest:0.011"],
]  # fmt: skip
LISTS = (
    [["chat", "prompt", "0.51"], ["chat", "completion", "1.53"], ["code", "prompt", "1.25"]],
    [["chat", "prompt", "tiered 2000000:0.6 rest:0.313"], ["chat", "completion", "1.49"],
     ["code", "prompt", "volume 3000000:1.2 rest:0.9"], ["", "", "factor 0.5", "batch"]],
    [["chat", "prompt", "0.49"], ["chat", "completion", "tiered 200000:1.7 rest:1.3"],
     ["code", "prompt", "1.1"], ["", "", "factor Europe/Berlin mon-fri@22-6:0.77"]],
)  # fmt: skip
CONTRACTS = (
    [["", "fee", "flat 12.5"], ["", "", "factor 0.9"]],
    [["", "commitment", "commitment 20.25"], ["chat", "prompt", "package 600000:0.3"]],
    [["code", "prompt", "1.01"], ["", "", "factor America/Santiago 0-5:0.333333"]],
)


class Killed(BaseException):
    """No part of the product may catch it."""


class KilledAt:
    """The process ends instead of its n-th statement, so before its transaction ends."""

    def __init__(self, statement):
        self.left = statement

    def __call__(self, execute, sql, *given):
        self.left -= not sql.startswith("RELEASE")  # here, a savepoint's release is the commit
        if self.left == 0:
            raise Killed
        return execute(sql, *given)


class Life:
    def __init__(self, seed, tenants, gateway, fin, vic):
        self.random = random.Random(seed)
        self.tenants, self.gateway, self.fin, self.vic = tenants, gateway, fin, vic
        self.now = OPENED
        self.events = []  # with `received_at`, as price.py reads them
        self.versions = []  # of prices, with the tenant whose contract it is
        self.files = []  # whose, month, format, artifact, content
        self.kills = self.corrections = self.reopened = self.notes = 0

    # --- time and death -------------------------------------------------------------------------

    def until(self, moment):
        """Never back; a minute at least between two acts."""
        self.now = max(self.now + timedelta(minutes=1), moment)

    def survive(self, act):
        """Do it, killed before it is done every other time."""
        if self.random.random() < 0.5:
            try:
                with connection.execute_wrapper(KilledAt(self.random.randrange(1, 50))):
                    return act()
            except Killed:
                self.kills += 1
                with fleet_scope():  # the dead worker's claim ends in the meantime
                    ExportJob.objects.update(claim_until=None)
        return act()

    def in_fleet(self, act, *given, **more):
        def scoped():
            with fleet_scope():
                return act(*given, **more)

        return self.survive(scoped)

    # --- usage ----------------------------------------------------------------------------------

    def spend(self, tenant, count, since, until):
        """Requests that ended in the span and are delivered now, one batch twice."""
        seconds = int((min(until, self.now) - since).total_seconds())
        sent = []
        for _ in range(count):
            prompt = self.random.randrange(1, 900_000)
            data = usage(
                tenant,
                at=since + timedelta(seconds=self.random.randrange(seconds)),
                model=self.random.choice(("chat", "chat", "code")),
                traffic_class=self.random.choice(("interactive", "batch")),
                outcome=self.random.choice(("served", "served", "cancelled", "failed")),
                worker=WORKER,
                prompt_tokens=prompt,
                cached_tokens=prompt // self.random.randrange(1, 9),
                completion_tokens=self.random.randrange(80_000),
            )
            event = {"id": data["request_id"], "received_at": self.now.isoformat(), "data": data}
            sent.append(event)
        self.events += sent
        for _ in range(2):
            self.survive(
                lambda: ingest(self.gateway, batch(*[e["data"] for e in sent]), now=self.now)
            )

    def settle(self):
        while self.survive(lambda: roll_up(self.now)):
            pass
        while self.survive(lambda: rate_due(self.now, early=True)).hours:
            pass

    # --- prices ---------------------------------------------------------------------------------

    def open_books(self):
        with fleet_scope():
            create_book(SYSTEM, slug="list", name="List", currency="USD")
            for tenant in self.tenants:
                create_contract(SYSTEM, tenant_refs([tenant.pk])[tenant.pk])
        set_account(self.tenants[1], currency=FOREIGN, rate_source="ECB")
        self.publish(None, LISTS[0], OPENED - timedelta(days=5))

    def publish(self, tenant, lines, starts_at, ends_at=None):
        self.until(self.now)
        lines = lines if tenant else [*lines, *REST]
        slug = f"contract-{tenant.slug}" if tenant else "list"
        self.hold(slug, [read_line(*line) for line in lines], starts_at, ends_at)
        version = {"from": starts_at.isoformat(), "until": ends_at.isoformat() if ends_at else ""}
        version |= {
            "published": self.now.isoformat(),
            "prices": [[*line, ""][:4] for line in lines],
        }
        self.versions.append((tenant.pk if tenant else None, version))
        self.settle()

    def hold(self, slug, prices, starts_at, ends_at):
        """Let these prices hold, as people agree on them."""

    def change_prices(self, month_began):
        """A new list, or a contract; from some hour of the last weeks or of the next days on."""
        hour = month_began.replace(minute=0, second=0, microsecond=0)
        starts_at = hour + HOUR * self.random.randrange(-24 * 20, 24 * 35)
        starts_at = max(starts_at, OPENED + 12 * HOUR)  # no fee of a month before the first
        ends_at = starts_at + HOUR * self.random.randrange(24, 24 * 60)
        tenant = self.random.choice([None, *self.tenants])
        lines = self.random.choice(CONTRACTS if tenant else LISTS)
        self.publish(
            tenant, lines, starts_at, self.random.choice([None, ends_at]) if tenant else None
        )

    # --- people ---------------------------------------------------------------------------------

    def grant(self, tenant, number):
        is_paid = self.random.random() < 0.5
        granted(
            self.fin, self.vic, tenant, now=self.now, name=f"Credit {number}", paid=is_paid,
            amount=Decimal(self.random.randrange(1, 900)) / 100,
            currency=self.currency(tenant),
            priority=self.random.randrange(1, 9),
            reference=f"PAID-{number}" if is_paid else "",
            expires_at=self.now + timedelta(days=self.random.randrange(10, 90)),
        )  # fmt: skip

    def pay(self, tenant, invoice):
        """Twice, for whoever sends a form again: the second time it is refused."""
        owed = invoice.total
        if owed <= 0:
            return

        def act():
            return record_payment(
                SYSTEM,
                tenant.slug,
                amount=owed,
                currency=invoice.currency,
                reference=invoice.number,
                now=self.now,
            )

        self.in_fleet(act)
        self.is_refused(act)

    def credit(self, invoice):
        """Give back half of what is left of the largest line."""
        with fleet_scope():
            found = get_invoice(SYSTEM, invoice.number)
        largest = max((x for x in found.lines if x.has_charges), key=lambda x: x.remains)
        left = min(largest.remains, found.row.net - found.credited_net)
        half = (left / 2).quantize(Decimal("0.01"))
        if half > 0:
            given = [Given(largest.row.position, half)]
            self.in_fleet(
                issue_credit_note, SYSTEM, invoice.number, lines=given, why="Outage", now=self.now
            )
            self.notes += 1

    def is_refused(self, act):
        with fleet_scope():
            try:
                act()
            except Conflict:
                return
        raise AssertionError("it was done a second time")

    def decide(self, change_id, *, approve=True):
        """Another person does."""

        def act():
            change = ChangeRequest.objects.get(pk=change_id)
            changes.decide(self.vic, change.pk, digest=change.digest, approve=approve, why="seen")

        self.in_fleet(act)

    # --- books ----------------------------------------------------------------------------------

    def currency(self, tenant):
        """Of its invoices."""
        return FOREIGN if tenant is self.tenants[1] else "USD"

    def period(self, tenant, month):
        with fleet_scope():
            return BillingPeriod.objects.get(tenant_id=tenant.pk, name=month)

    def close(self, tenant, month):
        """Close and bill the month, and make its files."""
        self.survive(lambda: keep_periods(self.now))
        self.survive(lambda: expire_due(self.now))
        pk = self.period(tenant, month).pk
        rate = Decimal(self.random.randrange(800_000, 999_999)) / 10**6
        given = Recorded("USD", FOREIGN, self.now.date(), "ECB", rate)
        self.in_fleet(record_rate, SYSTEM, given, now=self.now)
        engines_agree()
        self.in_fleet(start_closing, SYSTEM, pk, now=self.now)
        self.shut(pk)
        try:
            self.in_fleet(issue_invoices, SYSTEM, pk, now=self.now)
        except Conflict:  # an opened month that nothing came for
            assert self.invoices(tenant, month)
        self.is_refused(lambda: issue_invoices(SYSTEM, pk, now=self.now))
        for format in ("focus-1.4", "chargeback"):
            artifact, content = self.export(tenant, month, format)
            total = sum(i.total for i in self.invoices(tenant, month))
            total -= sum(n.total for n in self.given_back(tenant, month))
            if format == "focus-1.4":
                total += self.paid_ahead(tenant, month)
            assert Decimal(artifact.sums.get(self.currency(tenant), 0)) == total, (
                tenant,
                month,
                format,
            )
            self.files.append((tenant, month, format, artifact, content))

    def shut(self, pk):
        """Close a period that is closing."""
        self.in_fleet(close, SYSTEM, pk, now=self.now, grace=GRACE)

    def reopen(self, tenant, month):
        pk = self.period(tenant, month).pk
        self.in_fleet(ask_to_reopen, self.fin, pk, why="A gateway was found that kept its usage")

        self.decide(self.period(tenant, month).change_id)
        self.survive(lambda: apply_decisions(self.now))
        assert self.period(tenant, month).state == "open"
        self.reopened += 1

    def invoices(self, tenant, month):
        with fleet_scope():
            rows = Invoice.objects.filter(tenant_id=tenant.pk, period__name=month)
            return list(rows.order_by("id"))

    def given_back(self, tenant, month):
        period = self.period(tenant, month)
        with fleet_scope():
            rows = CreditNote.objects.filter(tenant_id=tenant.pk, issued_at__gte=period.starts_at)
            return list(rows.filter(issued_at__lt=period.ends_at))

    def paid_ahead(self, tenant, month):
        """By the journal: what was paid for credits in the month, less what its invoices used.

        It stands on no invoice.
        """
        period = self.period(tenant, month)
        numbers = [i.number for i in self.invoices(tenant, month)]
        bought = Q(txn__kind__in=["prepayment", "prepaid_back"])
        bought &= Q(txn__at__gte=period.starts_at, txn__at__lt=period.ends_at)
        with fleet_scope():
            legs = JournalLeg.objects.filter(tenant_id=tenant.pk, account="prepaid_credits")
            legs = legs.filter(bought | Q(txn__kind="prepaid_use", txn__document__in=numbers))
            return -(legs.aggregate(s=Sum("amount"))["s"] or 0)

    def export(self, tenant, month, format):
        period = self.period(tenant, month)
        with fleet_scope():
            job = request_export(
                SYSTEM, format=format, starts_at=period.starts_at, ends_at=period.ends_at,
                tenant_id=tenant.pk, now=self.now,
            )  # fmt: skip
        self.survive(lambda: run_due(self.now))
        with fleet_scope():
            artifact, data = open_export(SYSTEM, job.pk)
            with data:
                return artifact, data.read()

    # --- one month ------------------------------------------------------------------------------

    def month(self, number):
        """Usage in four deliveries, some of it late; prices, credits; then the month before."""
        name = MONTHS[number]
        began = {
            t.pk: datetime.fromisoformat(f"{name}-01").replace(tzinfo=ZoneInfo(t.time_zone))
            for t in self.tenants
        }
        for week in range(4):
            self.until(OPENED.replace(month=number + 1, day=7 * week + 6, hour=9))
            for tenant in self.tenants:
                self.spend(tenant, 6, began[tenant.pk].astimezone(UTC), self.now)
                if number and self.random.random() < 0.3:
                    oldest = max(began[tenant.pk] - timedelta(days=25), self.now - LATEST)
                    first = OPENED + 12 * HOUR  # not before their first month
                    self.spend(tenant, 2, max(oldest.astimezone(UTC), first), self.now)
            self.settle()
            if self.random.random() < 0.3:
                self.change_prices(self.now)
            if week == 2 and self.random.random() < 0.6:
                self.grant(self.random.choice(self.tenants), 10 * number + week)
            self.week(number, week)
            if number and week == 0:
                self.books(number - 1)

    def week(self, number, week):
        """What else happens, before books are closed."""

    def books(self, number):
        """A month is over: close it, take money, give some back, open an old one again."""
        for tenant in self.tenants:
            self.close(tenant, MONTHS[number])
            invoice = self.random.choice(self.invoices(tenant, MONTHS[number]))
            self.pay(tenant, invoice)
            if self.random.random() < 0.4:
                self.credit(invoice)
            if number and self.random.random() < 0.3:
                again = MONTHS[number - 1]
                self.reopen(tenant, again)
                period = self.period(tenant, again)
                self.spend(tenant, 2, max(period.starts_at, self.now - LATEST), period.ends_at)
                self.settle()
                self.close(tenant, again)
