"""Money pages: sums that lead to their rows, files of what is shown, and who may see them."""

import csv
import hashlib
import io
import re
from decimal import Decimal

import pytest
from django.utils import timezone
from django.utils.html import escape

from billing.actions.publication import publish_approved
from billing.drive.previews import work_due
from billing.models import Charge, PriceBookVersion, UsageQuarantine
from billing.rules.allocation import METHODS
from tenants.base.scope import fleet_scope
from tenants.models import ChangeRequest
from tests.browser.registry_money import PAGES
from tests.console.visitors import browser, rows

pytestmark = pytest.mark.django_db


def test_it_shows_every_money_page_to_the_operator(scene):
    olga = browser(scene.olga)
    assert {n: olga.get(a(scene)).status_code for n, a in PAGES.items()} == dict.fromkeys(
        PAGES, 200
    )


def test_it_leads_from_a_figure_to_charges_that_add_up_to_it(scene):
    olga = browser(scene.olga)
    page = olga.get("/billing/acme/")
    cut = page.context["cuts"][0]
    assert cut.parts
    for part, address, _ in cut.rows:
        found = rows(olga.get(f"/billing/acme/charges/?{address}&format=csv"))
        assert sum(Decimal(r["amount"]) for r in found) == part.amount
    assert sum(p.amount for p in cut.parts) == page.context["found"].charged


def test_it_leads_from_a_charge_to_its_hour_and_its_requests(scene):
    olga = browser(scene.olga)
    charges = olga.get("/billing/acme/charges/?from=now-7d&meter=completion")
    charge, _, _, address = charges.context["lines"][0]
    hours = olga.get(address)
    tokens = sum(h.completion_tokens for h, _, _ in hours.context["lines"])
    assert tokens == charge.quantity
    _, _, requests = hours.context["lines"][0]
    found = olga.get(f"/requests/?{requests}").context["page"].rows
    assert sum(r.completion_tokens for r in found) == tokens


def test_it_leads_from_an_hour_to_its_tenants_and_their_requests(scene):
    olga = browser(scene.olga)
    page = olga.get("/economics/confidence/?from=now-7d")
    hour, service, at = next(line for line in page.context["lines"] if line[0].metered and line[1])
    found = olga.get(f"/economics/confidence/?from=now-7d&service={service}&hour={at}")
    opened = found.context["hour"]
    assert opened["metered"] == hour.metered == sum(p.tokens for p, *_ in opened["rows"])
    part, slug, _, address = opened["rows"][0]
    requests = olga.get(f"/requests/?{address}").context["page"].rows
    assert {r.tenant for r in requests} == {slug}
    assert len(requests) == min(part.requests, 50)
    assert olga.get("/economics/confidence/?hour=noon&service=" + service).status_code == 422
    csv_rows = rows(olga.get("/economics/confidence/?from=now-7d&format=csv"))
    assert len(csv_rows) == page.context["page"].paginator.count


def test_it_writes_files_of_exactly_what_is_shown(scene):
    olga = browser(scene.olga)
    shown = olga.get("/requests/?from=now-7d&outcome=rejected").context["page"].rows
    found = rows(olga.get("/requests/?from=now-7d&outcome=rejected&format=csv"))
    assert [r["request_id"] for r in found] == [str(r.request_id) for r in shown]
    assert {r["outcome"] for r in found} == {"rejected"}


def test_it_shows_a_bill_that_adds_up(scene):
    found = browser(scene.olga).get("/economics/?from=now-24h").context["found"]
    assert found.bill > 0
    assert found.left_over == 0


def test_it_prints_the_method_where_the_bill_is_shared(scene):
    olga = browser(scene.olga)
    for address in ("/economics/?from=now-7d", "/economics/units/?from=now-7d"):
        page = olga.get(address).content.decode()
        assert "engine-time-1" in page
        assert escape(METHODS["engine-time-1"]) in page


def test_it_gives_unit_costs_as_they_are_shown(scene):
    olga = browser(scene.olga)
    for by in "tenant", "service":
        address = f"/economics/units/?from=now-7d&by={by}"
        shown = olga.get(address).context["found"].rows
        found = rows(olga.get(address + "&format=csv"))
        assert [r["name"] for r in found] == [row.name for row in shown] != []
        assert [Decimal(r["cost"]) for r in found] == [row.cost for row in shown]
    assert browser(scene.mallory).get("/economics/units/").status_code in (403, 404)


def test_it_hides_money_from_those_without_the_role(scene):
    watcher = browser(scene.watcher)
    money = [n for n in PAGES if "request" not in n]
    found = {n: watcher.get(PAGES[n](scene)).status_code for n in money}
    assert found == dict.fromkeys(money, 403)


def test_it_hides_other_tenants_from_a_stranger(scene):
    mallory = browser(scene.mallory)
    for address in ("/billing/acme/", "/billing/acme/charges/", "/billing/acme/hours/"):
        assert mallory.get(address).status_code == 404, address
    assert mallory.get(f"/requests/{scene.request.request_id}/").status_code == 404
    assert mallory.get("/requests/?tenant=acme").status_code == 404
    assert mallory.get("/requests/?from=now-30d").context["page"].rows == []
    assert mallory.get(f"/exports/{scene.export.pk}/file/").status_code == 404
    assert mallory.get("/economics/").status_code in (403, 404)


def test_it_gives_finance_the_file_with_the_sum_that_is_shown(scene):
    fin = browser(scene.fin)
    job = next(j for j, *_ in fin.get("/exports/").context["jobs"] if j.pk == scene.export.pk)
    answer = fin.get(f"/exports/{job.pk}/file/")
    body = b"".join(answer.streaming_content)
    assert hashlib.sha256(body).hexdigest() == job.artifact.sha256
    found = list(csv.DictReader(io.StringIO(body.decode())))
    assert len(found) == job.artifact.rows
    assert sum(Decimal(r["BilledCost"]) for r in found) == Decimal(job.artifact.sums["USD"])


def test_it_drafts_and_publishes_prices(scene):
    fin = browser(scene.fin)
    form = fin.get("/prices/list/new/").context["form"]
    lines = "chat-small, prompt, 1\nchat-small, cached, 0.1\nchat-small, completion, 3"
    kept = fin.post("/prices/list/new/", {"lines": lines, "version": form.initial["version"]})
    assert kept.status_code == 302
    number = int(re.search(r"/(\d+)/$", kept["Location"])[1])
    page = fin.get(kept["Location"])
    given = page.context["form"].initial
    answer = fin.post(f"/prices/list/{number}/propose/", given)
    assert answer.status_code == 302
    change = fin.get(kept["Location"]).context["proposal"]
    assert fin.post(f"/approvals/{change.id}/decide/").status_code in (403, 404)
    decide(scene.vic, change, "list-v" + str(number))
    assert publish_approved(timezone.now()) == 1
    with fleet_scope():
        assert PriceBookVersion.objects.get(number=number).published_at


def decide(user, change, typed):
    answer = browser(user).post(
        f"/approvals/{change.id}/decide/",
        {"verdict": "approve", "digest": change.digest, "typed": typed},
    )
    assert answer.status_code == 302, answer.content


def test_it_edits_withdraws_and_compares_drafts(scene):
    fin = browser(scene.fin)
    at = f"/prices/list/{scene.draft.number}/"
    form = fin.get(f"{at}edit/").context["form"].initial
    lines = form["lines"] + "\n*, *, factor Europe/Berlin 22-6:0.5, batch"
    kept = fin.post(f"{at}edit/", form | {"lines": lines})
    assert kept.status_code == 302
    page = fin.get(f"{at}?with=1")
    assert {d.change for d in page.context["rows"]} == {"dearer", "new"}
    assert fin.get(f"{at}?with=77").status_code == 404
    fin.post(f"{at}propose/", page.context["form"].initial)
    assert fin.get(at).context["shown"].state == "proposed"
    assert fin.post(f"{at}edit/", form | {"version": 99}).status_code == 422
    change = fin.get(at).context["proposal"]
    assert fin.post(f"/approvals/{change.id}/withdraw/").status_code == 302
    publish_approved(timezone.now())
    assert fin.get(at).context["shown"].state == "draft"


def test_it_previews_a_draft_on_last_month(scene):
    fin, at = browser(scene.fin), f"/prices/list/{scene.draft.number}/preview/"
    assert fin.get("/prices/list/1/preview/").context["found"] is None
    assert fin.post(at).status_code == 302
    assert fin.get(at).context["found"].state == "waiting"
    while work_due(timezone.now()):
        pass
    found = fin.get(at).context["found"]
    assert found.old > 0
    assert found.new == 2 * found.old
    assert {line.unpriced for line in found.lines} == {0}


def test_it_opens_a_contract_and_goes_on_to_its_prices(scene):
    fin = browser(scene.fin)
    made = fin.post("/new/contract/", {"tenant": "acme"})
    assert made.status_code == 302
    assert "factor" in fin.get(made["Location"]).context["form"].initial["lines"]
    assert fin.post("/new/contract/", {"tenant": "acme"}).status_code == 422


def test_it_keeps_what_was_typed_when_prices_are_refused(scene):
    fin = browser(scene.fin)
    for lines, says in {
        "chat-small, prompt": "has 2 parts",
        "chat-small, prompt, dear": "is no price",
        "chat-small, prompt, 1": "has no price for every class",
        "chat-small, smell, 1": "There is no meter",
    }.items():
        answer = fin.post("/prices/list/new/", {"lines": lines, "version": 1})
        text = answer.content.decode()
        assert answer.status_code == 422
        assert says in text
        assert lines in text


def test_it_makes_an_export_once_asked(scene):
    fin = browser(scene.fin)
    before = len(fin.get("/exports/").context["jobs"])
    form = {"format": "csv", "tenant": "", "first": "2026-11-01", "last": "2026-11-02"}
    assert fin.post("/exports/", form).status_code == 302
    assert len(fin.get("/exports/").context["jobs"]) == before + 1
    refused = fin.post("/exports/", form | {"last": "2026-10-01"})
    assert refused.status_code == 422
    assert "2026-10-01" in refused.content.decode()


def test_it_asks_to_drop_an_event_from_quarantine_with_a_reason_only(scene):
    fin = browser(scene.fin)
    row = scene.quarantined
    address = f"/quarantine/{row.pk}/decide/"
    assert fin.post(address, {"decision": "drop", "why": ""}).status_code == 422
    assert fin.post(address, {"decision": "burn", "why": "x"}).status_code == 422
    assert browser(scene.vic).post(address, {"decision": "drop", "why": "x"}).status_code == 403
    assert fin.post(address, {"decision": "drop", "why": "sent by a test"}).status_code == 302
    page = fin.get("/quarantine/")
    assert {q.decision_id is None for q, *_ in page.context["rows"]} == {False}
    assert "Waits for approval" in page.content.decode()
    with fleet_scope():
        change = ChangeRequest.objects.get(kind="usage_quarantine", payload__reasons__bad_schema=1)
    shown = browser(scene.vic).get(f"/approvals/{change.pk}/").content.decode()
    assert f"/quarantine/decisions/{change.target_id}/" in shown


def test_quarantine_shows_and_writes_what_the_filter_says(scene):
    fin = browser(scene.fin)
    for query in ("", "reason=conflict", "source=gateway-money", "tenant=acme", "tenant=globex"):
        page = fin.get(f"/quarantine/?{query}")
        found = rows(fin.get(f"/quarantine/?{query}&format=csv"))
        assert [r["id"] for r in found] == [str(q.pk) for q, *_ in page.context["rows"]]
    assert fin.get("/quarantine/?reason=mood").status_code == 422
    assert fin.get("/quarantine/?source=nobody").status_code == 422


def test_one_question_covers_all_that_the_filter_shows_and_nothing_that_came_later(scene):
    fin = browser(scene.fin)
    with fleet_scope():
        for number in range(3):
            UsageQuarantine.objects.create(
                source_id=1, event_id=f"odd-{number}", reason="too_late", detail="",
                payload="{}", payload_sha=bytes([number]),
            )  # fmt: skip
    given = fin.get("/quarantine/?reason=too_late").context["bulk"]
    assert given["events"] == 3
    with fleet_scope():
        UsageQuarantine.objects.create(
            source_id=1, event_id="later", reason="too_late", detail="", payload="{}",
            payload_sha=b"later",
        )  # fmt: skip
    less = given["drop"] | {"events": "2", "why": "x"}
    assert fin.post("/quarantine/decide/", less).status_code == 409
    answer = fin.post("/quarantine/decide/", given["drop"] | {"why": "A test installation"})
    assert answer.status_code == 302
    items = fin.get(answer.url).context["rows"]
    assert [item.event_id for item, *_ in items] == ["odd-0", "odd-1", "odd-2"]
    assert fin.get("/quarantine/?reason=too_late").context["bulk"] is None, "one is left"


def test_an_event_is_corrected_on_a_page_of_its_own(scene):
    fin = browser(scene.fin)
    address = f"/quarantine/{scene.quarantined.pk}/correct/"
    text = fin.get(address).context["text"]
    assert fin.post(address, {"event": text, "why": "x"}).status_code == 422
    good = text.replace("not-a-uuid", "0198c0de-0000-7000-8000-000000000001")
    answer = fin.post(address, {"event": good, "why": "The gateway wrote no id"})
    assert answer.status_code == 302, answer.content.decode()[:3000]
    assert "0198c0de" in fin.get(answer.url).content.decode()


def test_it_refuses_a_range_that_is_none(scene):
    assert browser(scene.olga).get("/requests/?from=yesterday").status_code == 422
    assert browser(scene.olga).get("/billing/acme/?month=soon").status_code == 422
    assert browser(scene.olga).get("/requests/?before=x").status_code == 422
    with fleet_scope():
        assert Charge.objects.exists()
