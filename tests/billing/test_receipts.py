"""Whatever a batch holds, its receipt accounts for every event of it, each in its place."""

import json
from datetime import timedelta

import pytest
from django.db import transaction
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from billing.actions.ingest import ingest
from billing.models import UsageEvent, UsageQuarantine, UsageSeen
from billing.queries.checks import run_checks
from tenants.base.scope import fleet_scope
from tests.billing.factories import NOW, batch, cloud, usage

pytestmark = pytest.mark.django_db
GOOD, AGAIN, CONFLICT, STRANGER, FUTURE, LATE, BROKEN, JUNK = range(8)
REASONS = {
    CONFLICT: "conflict",
    STRANGER: "unknown_tenant",
    FUTURE: "future",
    LATE: "too_late",
    BROKEN: "bad_schema",
    JUNK: "bad_schema",
}
CHANGES = {
    STRANGER: {"tenant_id": 999_999},
    FUTURE: {"at": NOW + timedelta(hours=1)},
    LATE: {"at": NOW - timedelta(days=63)},
    BROKEN: {"cached_tokens": 101},
}


def texts_of(kinds, tenant):
    """The events of a batch as text, which name their tenant by its id or its slug; the reasons
    by place. What says otherwise than what is stored under its id is refused, whatever stands
    before it; what says the same is known, also behind such a one."""
    good, texts, bad = [usage(tenant)], [], {}
    for number, kind in enumerate(kinds):
        if kind in (AGAIN, CONFLICT):
            known = good[number % len(good)]
            data = known | ({"gpu_ms": 1 + number % 2} if kind == CONFLICT else {})
        else:
            data = usage(tenant, **CHANGES.get(kind, {}))
        if kind == GOOD:
            good.append(data)
        if number % 3 == 0 and kind != STRANGER:
            data = {k: v for k, v in data.items() if k not in ("tenant_id", "application_id")}
            data |= {"tenant": tenant.slug, "application": "app"}
        texts.append(f"[{number}]" if kind == JUNK else json.dumps(cloud(data)))
        if kind in REASONS:
            bad[number] = REASONS[kind]
    return json.dumps(cloud(good[0])), texts, bad


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@example(kinds=[CONFLICT, AGAIN])
@example(kinds=[AGAIN, CONFLICT, AGAIN])
@example(kinds=[CONFLICT, STRANGER, CONFLICT, AGAIN])
@example(kinds=[GOOD, BROKEN, CONFLICT, JUNK, AGAIN, STRANGER, CONFLICT, FUTURE, LATE])
@given(kinds=st.lists(st.integers(0, 7), max_size=25))
def test_every_event_of_a_batch_is_taken_known_or_refused_in_its_place(acme, gateway, kinds):
    with transaction.atomic():
        deliver(kinds, acme, gateway)
        transaction.set_rollback(True)


def deliver(kinds, acme, gateway):
    first, texts, bad = texts_of(kinds, acme)
    assert ingest(gateway, f"[{first}]".encode(), now=NOW).accepted == 1
    body = f"[{', '.join(texts)}]".encode()
    receipt, again = (ingest(gateway, body, now=NOW) for _ in range(2))
    for said in receipt, again:
        assert {r.position: r.reason for r in said.quarantined} == bad
        assert [r.position for r in said.quarantined] == sorted(bad)
        assert said.accepted + said.duplicates + len(bad) == len(kinds)
        assert all(texts[r.position].encode() == r.raw for r in said.quarantined)
    assert (receipt.accepted, again.accepted) == (kinds.count(GOOD), 0)
    with fleet_scope():
        assert UsageEvent.objects.count() == UsageSeen.objects.count() == 1 + kinds.count(GOOD)
        assert UsageQuarantine.objects.count() == len({texts[place] for place in bad})
        assert [c for c in run_checks(NOW - timedelta(days=90)) if not c.holds] == []


def test_of_a_new_id_the_first_that_can_be_taken_is_stored(acme, gateway):
    true = usage(acme)
    strange, other = true | {"tenant_id": 999_999}, true | {"completion_tokens": 7}
    receipt = ingest(gateway, batch(strange, true, other, true), now=NOW)
    assert (receipt.accepted, receipt.duplicates) == (1, 1)
    assert [(r.position, r.reason) for r in receipt.quarantined] == [
        (0, "unknown_tenant"),
        (2, "conflict"),
    ]
    with fleet_scope():
        assert UsageEvent.objects.get().completion_tokens == 30


def test_an_id_in_one_batch_as_a_request_and_as_a_copy_is_the_first_of_them(acme, gateway):
    data = usage(acme)
    copy = cloud(data, type="quartermaster.shadow.v1")
    body = json.dumps([cloud(data), copy, cloud(data)]).encode()
    receipt = ingest(gateway, body, now=NOW)
    assert (receipt.accepted, receipt.duplicates) == (1, 1)
    assert [(r.position, r.reason) for r in receipt.quarantined] == [(1, "conflict")]
