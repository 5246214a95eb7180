"""A year of simulated life: everything that happens to money and cost, what people decide about
it, and workers that die over it."""

import hashlib
import json
import os
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from django.db import transaction
from django.db.models import F, Q, Sum
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from billing.drive.checks import check_all
from billing.models import (
    Charge,
    CreditNote,
    ExportArtifact,
    Invoice,
    InvoiceLine,
    JournalLeg,
    UnpricedUsage,
)
from billing.queries.checks import run_checks
from tenants.base.scope import fleet_scope
from tests.billing.books import engines_agree
from tests.billing.busy_life import GHOST, BusyLife
from tests.billing.factories import make_tenant
from tests.billing.independent import price
from tests.billing.life import MONTHS, OPENED

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.timeout(900),  # twelve months of the ledger, on a machine that is shared
]
LAST = datetime(2027, 1, 6, 9, tzinfo=UTC)


# One year in CI, always the same; QM_YEARS=20 lives through so many others.
YEARS = int(os.environ.get("QM_YEARS", "0"))
SOME = settings(
    max_examples=max(1, YEARS),
    derandomize=True,
    phases=[Phase.explicit, *([Phase.generate] if YEARS else [])],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture
def begin(gateway, fin, vic, settings, tmp_path):
    """A life for each seed, in a folder of its own."""

    def begun(seed):
        settings.QM_EXPORTS_DIR = tmp_path / f"exports-{seed}"
        return new_life(seed, gateway, fin, vic, settings.QM_EXPORTS_DIR)

    return begun


def new_life(seed, gateway, fin, vic, folder):
    # Their clocks change in opposite directions; one of them at midnight.
    tenants = [
        make_tenant("acme", currency="USD", time_zone="Europe/Berlin"),
        make_tenant("globex", currency="USD", time_zone="America/Santiago"),
    ]
    life = BusyLife(seed, tenants, gateway, fin, vic)
    life.folder = folder
    return life


@SOME
@example(seed=2)
@given(seed=st.integers(0, 2**32))
def test_every_sum_agrees_through_a_year_in_which_anything_happens(begin, seed):
    with transaction.atomic():
        live(begin(seed))
        transaction.set_rollback(True)


def live(life):
    life.open_books()
    for number in range(12):
        life.month(number)
        compare(life)
    life.until(LAST)
    life.settle()
    life.books(11)
    life.nothing_is_owed()
    compare(life)
    nothing_is_left(life)
    the_months_can_be_told_again(life)
    assert charged() == second_opinion(life)
    assert life.kills > 50
    assert life.downtimes
    assert life.overtaken
    assert YEARS or all((life.reopened, life.notes, life.signed, life.decided, life.refused))
    assert [c for c in check_all(OPENED - timedelta(days=9), life.now) if not c.holds] == []


def compare(life):
    """After each month: all checks, no charge on two invoices, and files as they were."""
    engines_agree()  # with what came late, too
    with fleet_scope():
        assert [c for c in run_checks(OPENED - timedelta(days=9)) if not c.holds] == []
        billed = list(billed_charges())
        assert len(billed) == len(set(billed)), "a charge is on two invoices"
        open_ = Charge.objects.exclude(pk__in=billed).aggregate(s=Sum("amount"))["s"] or 0
        lines = InvoiceLine.objects.filter(kind__in=["usage", "correction"])
        priced = F("quantity") * F("unit_price")  # before what was converted is in francs
        invoiced = lines.aggregate(s=Sum(priced))["s"] or 0
        assert invoiced + open_ == Charge.objects.aggregate(s=Sum("amount"))["s"]
        owed = Invoice.objects.aggregate(s=Sum("total"))["s"] or Decimal(0)
        owed -= CreditNote.objects.aggregate(s=Sum("total"))["s"] or 0
        paid = JournalLeg.objects.filter(account="receivable").exclude(
            txn__kind__in=["invoice", "credit_note"]
        )
        owed += paid.aggregate(s=Sum("amount"))["s"] or 0
        receivable = JournalLeg.objects.filter(account="receivable").aggregate(s=Sum("amount"))["s"]
        assert (receivable or 0) == owed
        life.collect()
        assert ExportArtifact.objects.count() == len(life.files) + len(life.scheduled)
    for path, content in life.scheduled.values():
        assert (Path(life.folder) / path).read_bytes() == content
    for *_, artifact, content in life.files:
        assert (Path(life.folder) / artifact.path).read_bytes() == content
        assert hashlib.sha256(content).hexdigest() == artifact.sha256


def billed_charges():
    for invoice in Invoice.objects.select_related("period"):
        period = invoice.period
        own = Q(correction_period=None, hour__gte=period.starts_at, hour__lt=period.ends_at)
        yield from Charge.objects.filter(
            own | Q(correction_period=period),
            tenant_id=invoice.tenant_id,
            id__gt=invoice.after_charge,
            id__lte=invoice.upto_charge,
        ).values_list("id", flat=True)


def nothing_is_left(life):
    """What no invoice has is of the running month, or took itself back to nothing."""
    with fleet_scope():
        rest = Charge.objects.exclude(pk__in=list(billed_charges()))
        for tenant in life.tenants:
            ends_at = life.period(tenant, MONTHS[-1]).ends_at
            running = Q(correction_period__starts_at__gte=ends_at) | Q(hour__gte=ends_at)
            old = rest.filter(tenant_id=tenant.pk).exclude(running)
            names = ("model", "meter", "unit_price")
            sums = old.values_list(*names).annotate(q=Sum("quantity")).order_by()
            assert [row for row in sums if row[-1]] == []


def the_months_can_be_told_again(life):
    """A month that was closed once gives the same bytes whenever somebody asks for its file."""
    made = {}
    for tenant, month, format, _, content in life.files:
        made.setdefault((tenant, month, format), []).append(content)
    for (tenant, month, format), contents in made.items():
        if len(contents) == 1 and life.random.random() < 0.5:
            assert life.export(tenant, month, format)[1] == contents[0], (tenant, month, format)


def charged():
    names = ("tenant_id", "hour", "application_id", "model", "traffic_class", "meter", "runs_on")
    with fleet_scope():
        sums = Charge.objects.values_list(*names, "unit_price").annotate(q=Sum("quantity"))
        return sorted(
            (*row[:7], Fraction(row[7]), Fraction(row[8])) for row in sums.order_by() if row[8]
        )


def second_opinion(life):
    """Every hour of the year by the program that knows the documents alone."""
    owners = {owner for owner, _ in life.versions}
    agreed = {
        "books": [
            {"tenant": o, "currency": "USD", "versions": [v for w, v in life.versions if w == o]}
            for o in owners
        ],
        "tenants": [
            {"id": t.pk, "zone": t.time_zone, "currency": "USD", "closes": [], "credits": []}
            for t in life.tenants
        ],
        "months": [*MONTHS, "2027-01"],
        "known_until": life.now.isoformat(),
    }
    found = price.price([json.dumps(e) for e in life.events], agreed)
    with fleet_scope():
        names = ("tenant_id", "hour", "model", "meter")
        unpriced = UnpricedUsage.objects.values_list(*names).annotate(q=Sum("quantity")).order_by()
        assert {row[2] for row in unpriced} <= {GHOST}
        mine = sorted((*row[:4], Fraction(row[4])) for row in unpriced)
    assert mine == sorted(
        (r[0], datetime.fromisoformat(r[1]), r[3], r[5], Fraction(r[-1])) for r in found["unpriced"]
    )
    return sorted(
        (r[0], datetime.fromisoformat(r[1]), *r[2:7], *map(Fraction, r[7:]))
        for r in found["charges"]
    )
