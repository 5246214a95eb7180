"""Gateways of others: slugs in the place of ids, tenants that they may report for, clocks."""

import json
from datetime import timedelta

import pytest
from django.utils import timezone

from billing.actions.arrivals import fold_arrivals
from billing.actions.ingest import ingest
from billing.actions.quarantine import apply_decisions, ask
from billing.models import UsageEvent, UsageQuarantine
from billing.queries.clocks import source_clocks
from billing.rules.quarantine import Kind
from tenants.actions import changes
from tenants.actions.tokens import create_source, renew_source
from tenants.base.scope import fleet_scope, scope_of
from tenants.errors import Forbidden, Invalid
from tenants.models import Application, ChangeRequest, UsageSource
from tenants.queries.access import viewer_of_secret
from tests.billing.doors import Door, make_token
from tests.billing.factories import NOW, SYSTEM, batch, cloud, usage

pytestmark = pytest.mark.django_db


def named(tenant, *, app="app", slug="", **changes):
    """As another gateway writes it: by slug, and without what is ours alone."""
    data = usage(tenant, **changes)
    for ours in ("tenant_id", "application_id", "credential_id", "request_id", "schema"):
        del data[ours]
    return data | {"tenant": slug or tenant.slug, "application": app}


def send(source, data, event_id="0198c0de-0000-7000-8000-000000000001"):
    body = json.dumps([cloud(data | {"request_id": event_id}) | {"data": data}])
    return ingest(source, body.encode(), now=NOW)


def stored():
    with fleet_scope():
        return list(UsageEvent.objects.values_list("tenant_id", "application_id", "credential_id"))


def make(**given):
    with fleet_scope():
        _, secret = create_source(SYSTEM, **given)
    return viewer_of_secret(secret), secret


def test_an_event_may_name_tenant_and_application_by_slug(acme, gateway):
    assert send(gateway, named(acme)).accepted == 1
    assert send(gateway, named(acme)).duplicates == 1
    assert stored() == [(acme.pk, acme.app.pk, 0)]


def test_the_same_event_by_ids_is_the_same_event(acme, gateway):
    data = usage(acme, credential_id=0)
    ingest(gateway, batch(data), now=NOW)
    slugs = {k: v for k, v in data.items() if k not in ("tenant_id", "application_id")}
    slugs |= {"tenant": "acme", "application": "app"}
    receipt = ingest(gateway, batch(slugs), now=NOW)
    assert (receipt.accepted, receipt.duplicates) == (0, 1)


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"slug": "nobody"}, "unknown_tenant"),
        ({"app": "other"}, "unknown_tenant"),
        ({"tenant_id": 1}, "bad_schema"),
        ({"prompt_tokens": -1}, "bad_schema"),
    ],
)
def test_what_cannot_be_named_waits_as_it_was_sent(acme, gateway, more, reason):
    ids = {k: more.pop(k) for k in ("tenant_id",) if k in more}
    data = named(acme, **more) | ids
    (bad,) = send(gateway, data).quarantined
    assert bad.reason == reason
    with fleet_scope():
        kept = json.loads(UsageQuarantine.objects.get().payload)
    assert kept["data"] == data


def test_an_event_by_slug_is_taken_once_its_application_is_there(acme, gateway, fin, vic):
    send(gateway, named(acme, app="new"))
    with fleet_scope():
        app = Application.objects.create(tenant=acme, slug="new", name="New")
        row = UsageQuarantine.objects.get()
    with scope_of(fin):
        ask(fin, [row.pk], kind=Kind.TAKE, why="Made too late", now=NOW)
    with fleet_scope():
        change = ChangeRequest.objects.get()
        changes.decide(vic, change.pk, digest=change.digest, approve=True)
    apply_decisions(NOW)
    assert stored() == [(acme.pk, app.pk, 0)]


def test_a_source_reports_for_its_tenants_only(acme, globex):
    source, _ = make(name="theirs", tenants=["acme"])
    assert send(source, named(acme)).accepted == 1
    (bad,) = send(source, named(globex), "0198c0de-0000-7000-8000-000000000002").quarantined
    assert (bad.reason, "globex" in bad.detail) == ("unknown_tenant", True)
    (bad,) = ingest(source, batch(usage(globex)), now=NOW).quarantined
    assert bad.reason == "not_allowed"
    (bad,) = ingest(source, batch(usage(globex, tenant_id=999_999)), now=NOW).quarantined
    assert bad.reason == "not_allowed"  # nor does it learn which tenants there are
    with fleet_scope(), pytest.raises(Invalid, match="no tenant 'nobody'"):
        create_source(SYSTEM, name="other", tenants=["nobody"])


def test_a_new_secret_is_the_same_source_and_the_old_one_ends_when_it_was_said(acme):
    source, old = make(name="theirs")
    data = usage(acme)
    ingest(source, batch(data), now=NOW)
    with fleet_scope():
        _, new = renew_source(SYSTEM, "theirs", keep_hours=24)
    assert viewer_of_secret(old) == viewer_of_secret(new)
    receipt = ingest(viewer_of_secret(new), batch(data), now=NOW)
    assert (receipt.accepted, receipt.duplicates) == (0, 1), "the old spool is billed once"
    UsageSource.objects.update(previous_until=timezone.now() - timedelta(seconds=1))
    assert viewer_of_secret(old) is None
    assert viewer_of_secret(new) is not None


def test_an_old_secret_ends_at_once_without_an_overlap_and_after_a_revocation():
    _, old = make(name="theirs")
    with fleet_scope():
        renew_source(SYSTEM, "theirs")
        assert viewer_of_secret(old) is None
        _, second = renew_source(SYSTEM, "theirs", keep_hours=1)
        UsageSource.objects.update(revoked_at=timezone.now())
        assert viewer_of_secret(second) is None
        renew_source(SYSTEM, "theirs", keep_hours=1)
        assert viewer_of_secret(second) is None, "what was revoked stays so"
        with pytest.raises(Invalid):
            renew_source(SYSTEM, "theirs", keep_hours=1_000)


def test_the_clock_of_each_source_is_measured_and_alarms_in_words(acme, gateway, olga, fin):
    late, ahead = NOW - timedelta(hours=3), NOW + timedelta(seconds=90)
    for at in (NOW - timedelta(seconds=2), late, ahead, NOW + timedelta(hours=1)):
        ingest(gateway, batch(usage(acme, at=at)), now=NOW)
    for folded in (False, True):
        if folded:
            fold_arrivals(NOW)
        with scope_of(olga):
            (found,) = source_clocks(olga, NOW).values()
        assert (found.events, found.least_ms, found.most_ms) == (3, -90_000, 10_800_000)
        assert found.from_future == 1
        assert "set the clock of this gateway" in found.alarms[0]
        assert "up to 3.0 h after their end" in found.alarms[1]
    with scope_of(olga):
        (later,) = source_clocks(olga, NOW + timedelta(hours=25)).values()
        assert later.events == 0
    with scope_of(fin), pytest.raises(Forbidden):
        source_clocks(fin, NOW)


def test_the_api_lists_clocks_of_sources(acme, gateway, stranger):
    now = timezone.now()
    ingest(gateway, batch(usage(acme, at=now + timedelta(minutes=2))), now=now)
    scopes = ["view", "view_money", "view_fleet"]
    (found,) = Door(make_token("olaf", "operator", permissions=scopes)).get("usage/sources")[
        "results"
    ]
    assert (found["name"], found["events"]) == ("gateway", 1)
    assert "Its clock is ahead" in found["alarms"][0]
    assert stranger("get", "usage/sources").status_code == 404
