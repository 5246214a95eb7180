"""Damage that somebody did on purpose, past every trigger, is found and named by the check."""

import pytest

from tests.billing.damaged import check, damaged, make_books

LOST_HOUR = "WHERE tenant_id = (SELECT id FROM tenant WHERE slug = 'acme') AND "
TIME = "hour = '2026-10-10 09:00Z'"
# (what was done, statements, tables, what the line says, what it names)
DAMAGE = [
    ("a changed event", ["UPDATE usage_event SET prompt_tokens = prompt_tokens + 1 WHERE id ="
     " (SELECT min(id) FROM usage_event)"], ["usage_event"],
     "prompt tokens: events = hours", "2026-10-10 09:00 UTC, acme (101 and 100)"),
    ("its GPU time", ["UPDATE usage_event SET gpu_ms = 1 WHERE id = (SELECT min(id) FROM"
     " usage_event)"], ["usage_event"],
     "GPU milliseconds: events = hours", "2026-10-10 09:00 UTC, acme (1 and 900)"),
    ("its cached tokens", ["UPDATE usage_event SET cached_tokens = 0 WHERE id = (SELECT min(id)"
     " FROM usage_event)"], ["usage_event"],
     "cached tokens, each a part", "2026-10-10 09:00 UTC, acme (0 and 40)"),
    ("an hour of events is lost", [f"DELETE FROM usage_event {LOST_HOUR} event_time <"
     " '2026-10-10 10:00Z'"], ["usage_event"],
     "requests: events = hours", "2026-10-10 09:00 UTC, acme (0 and 1)"),
    ("an hour is lost", [f"DELETE FROM usage_hour {LOST_HOUR} {TIME}"], ["usage_hour"],
     "requests: events = hours", "2026-10-10 09:00 UTC, acme (1 and 0)"),
    ("an hour is lost everywhere", [
        f"DELETE FROM usage_event {LOST_HOUR} event_time < '2026-10-10 10:00Z'",
        *(f"DELETE FROM {t} {LOST_HOUR} {TIME}" for t in ("usage_hour", "usage_hour_head",
                                                          "charge"))],
     ["usage_event", "usage_hour", "usage_hour_head", "charge"],
     "ids delivered = events stored", "source "),
    ("a day is lost", [f"DELETE FROM usage_day {LOST_HOUR} day = '2026-10-11'"], ["usage_day"],
     "requests: hours = days (of all time)", "2026-10-11 00:00 UTC, acme (1 and 0)"),
    ("a day of models", [f"DELETE FROM usage_model_day {LOST_HOUR} day = '2026-10-11'"],
     ["usage_model_day"],
     "requests: hours = days of models", "2026-10-11 00:00 UTC, acme, chat served (1 and 0)"),
    ("a head of an hour", [f"UPDATE usage_hour_head SET events = 3 {LOST_HOUR} {TIME}"],
     ["usage_hour_head"], "requests: hours = their heads", "2026-10-10 09:00 UTC, acme (1 and 3)"),
    ("a batch is doubled", ["CREATE TEMP TABLE twice AS SELECT * FROM usage_event",
     "UPDATE twice SET id = id + 1000", "INSERT INTO usage_event OVERRIDING SYSTEM VALUE SELECT *"
     " FROM twice", "DROP TABLE twice"], ["usage_event"],
     "ids delivered = events stored", "source "),
    ("an id is forgotten", ["DELETE FROM usage_seen WHERE event_id = (SELECT request_id FROM"
     " usage_event ORDER BY id LIMIT 1)"], ["usage_seen"],
     "ids delivered = events stored", "source "),
    ("an id is another", ["UPDATE usage_seen SET event_id = gen_random_uuid() WHERE event_id ="
     " (SELECT request_id FROM usage_event ORDER BY id LIMIT 1)"], ["usage_seen"],
     "ids delivered = events stored, by digest", "source "),
    ("a service's hour", ["UPDATE usage_service_hour SET prompt_tokens = prompt_tokens + 500"],
     ["usage_service_hour"], "prompt tokens: hours = hours of services", "service "),
    ("engines counted more", ["UPDATE engine_hour SET prompt_tokens = 9000"], ["engine_hour"],
     "tokens metered = counted by engines", "service "),
    ("a gateway's event is lost everywhere", [
        "CREATE TEMP TABLE lost AS SELECT min(request_id::text)::uuid AS id FROM usage_event WHERE"
        " worker = 'w1'", "DELETE FROM usage_event USING lost WHERE request_id = lost.id",
        "DELETE FROM usage_seen USING lost WHERE event_id = lost.id", "DROP TABLE lost"],
     ["usage_event", "usage_seen"],
     "reported by gateways = events + quarantine", "2026-11-20 12:00 UTC, worker w1 (5 and 4)"),
    ("what was in quarantine is gone", ["DELETE FROM usage_quarantine"], ["usage_quarantine"],
     "reported by gateways = events + quarantine", "2026-11-20 12:00 UTC, worker w1 (5 and 4)"),
    ("a charge", ["UPDATE charge SET quantity = quantity + 1, amount = (quantity + 1) * unit_price"
     " WHERE id = (SELECT min(id) FROM charge)"], ["charge"],
     "money: charges = hours as rated", "2026-10-10 09:00 UTC, acme, USD"),
    ("two charges, opposite", [
        "UPDATE charge SET quantity = quantity + d, amount = (quantity + d) * unit_price FROM"
        " (SELECT id, CASE WHEN id = min(id) OVER () THEN 1 ELSE -1 END AS d FROM charge WHERE"
        " meter = 'prompt' AND tenant_id = (SELECT id FROM tenant WHERE slug = 'acme')"
        " ORDER BY id LIMIT 2) AS two WHERE two.id = charge.id"], ["charge"],
     "money: charges = hours as rated", "2026-10-10 10:00 UTC, acme, USD"),
    ("two tenants, opposite", [
        "UPDATE charge SET quantity = quantity + d, amount = (quantity + d) * unit_price FROM"
        " (SELECT DISTINCT ON (tenant_id) id, CASE WHEN tenant_id = (SELECT min(tenant_id) FROM"
        " charge) THEN 1 ELSE -1 END AS d FROM charge WHERE meter = 'prompt'"
        " ORDER BY tenant_id, id) AS two WHERE two.id = charge.id"], ["charge"],
     "money: charges = hours as rated", "2026-10-10 09:00 UTC, globex, USD"),
    ("two hours of one day, opposite", [
        "UPDATE charge SET hour = hour + interval '1 hour' WHERE hour = '2026-10-10 09:00Z'"
        " AND meter = 'prompt'"], ["charge"],
     "quantities: rated again = charged", "2026-10-10 09:00 UTC, acme, application"),
    ("the price of a charge", ["UPDATE charge SET unit_price = 1, amount = quantity WHERE id ="
     " (SELECT min(id) FROM charge)"], ["charge"],
     "money: rated again = charged", "2026-10-10 09:00 UTC, acme, application"),
    ("a published price", ["UPDATE price SET unit_price = unit_price * 2 WHERE meter = 'cached'"],
     ["price"], "money: rated again = charged", "2026-10-10 09:00 UTC, acme"),
    ("a day of charges", ["DELETE FROM charge_day WHERE meter = 'cached' AND day ="
     " '2026-10-10'"], ["charge_day"],
     "money: charges = day sums", "2026-10-10 00:00 UTC, acme, application"),
    ("a total", ["UPDATE charge_total SET amount = amount + 1 WHERE day = '2026-10-10'"],
     ["charge_total"], "money: day sums = totals", "2026-10-10 00:00 UTC, acme, chat USD"),
    ("a tenant's sum", ["UPDATE charge_sum SET amount = 0 WHERE day = '2026-10-10'"],
     ["charge_sum"], "money: totals = sums of tenants", "2026-10-10 00:00 UTC, acme, USD"),
    ("a release's sum", ["DELETE FROM charge_release WHERE day = '2026-10-10'"],
     ["charge_release"], "money: totals = sums of releases", "2026-10-10 00:00 UTC, acme, chat"),
    ("a pool", ["UPDATE cost_pool SET cost = cost + 1"], ["cost_pool"],
     "cost: pools = tenants + idle + overhead", "2026-11-20 12:00 UTC, pool "),
    ("a share", ["UPDATE allocation SET amount = amount + 1 WHERE kind = 'tenant' AND id ="
     " (SELECT min(id) FROM allocation WHERE kind = 'tenant')"], ["allocation"],
     "cost: pools = tenants + idle + overhead", "2026-11-20 12:00 UTC, pool "),
    ("two shares, opposite", ["UPDATE allocation SET amount = amount + CASE WHEN id = (SELECT"
     " min(id) FROM allocation WHERE kind = 'tenant') THEN 1 ELSE -1 END WHERE id IN (SELECT id"
     " FROM allocation WHERE kind = 'tenant' ORDER BY id LIMIT 2)"], ["allocation"],
     "cost: the fleet's bill = day sums", "2026-11-20 00:00 UTC, acme, tenant chat"),
    ("a run", ["UPDATE allocation_run SET cost = cost - 1"], ["allocation_run"],
     "cost: the fleet's bill = its pools", "2026-11-20 12:00 UTC, run "),
    ("a pool's time", ["UPDATE cost_pool SET gpu_ms = gpu_ms + 1000 WHERE id = (SELECT min(id)"
     " FROM cost_pool)"], ["cost_pool"],
     "cost: pools = GPU time x price", "2026-11-20 12:00 UTC, pool "),
    ("a price of a node", ["UPDATE gpu_price SET hourly = 3"], ["gpu_price"],
     "cost: pools are priced as their line says", "2026-11-20 12:00 UTC, pool "),
    ("a total of an invoice", ["UPDATE invoice SET total = total + 1 WHERE number ="
     " 'INV-000001'"], ["invoice"], "money: lines = invoices", "acme, INV-000001"),
    ("an invoice and its line", [
        "UPDATE invoice SET total = total + 1, net = net + 1 WHERE number = 'INV-000001'",
        "UPDATE invoice_line SET amount = amount + 1, exact = exact + 1 WHERE id = (SELECT min(id)"
        " FROM invoice_line)"], ["invoice", "invoice_line"],
     "money: documents = what their records say", "acme, INV-000001"),
    ("the same, by the journal", [
        "UPDATE invoice SET total = total + 1, net = net + 1 WHERE number = 'INV-000001'"],
     ["invoice"], "journal: billed = invoices - credit notes", "acme, invoice:"),
    ("a record", ["UPDATE invoice SET snapshot = snapshot || ' ' WHERE number = 'INV-000001'"],
     ["invoice"], "records and PDFs", "acme, INV-000001 (2 and 1)"),
    ("a credit note", ["UPDATE credit_note SET net = net + 1"], ["credit_note"],
     "money: lines of credit notes = their net", "acme, CN-000001"),
    ("charges moved to another model", ["UPDATE charge SET model = 'chat2' WHERE meter ="
     " 'prompt'"], ["charge"], "digest that was kept", "acme, INV-000001 line 3"),
    ("charges of an invoice are gone", ["DELETE FROM charge WHERE meter = 'prompt'"], ["charge"],
     "charges of invoices = their lines", "globex, INV-000002 line 3"),
    ("a leg", ["UPDATE journal_leg SET amount = amount + 1 WHERE id = (SELECT min(id) FROM"
     " journal_leg)"], ["journal_leg"],
     "journal: debit legs = credit legs", "acme, "),
    ("a number", ["UPDATE document_series SET last_number = 7 WHERE kind = 'invoice'"],
     ["document_series"], "numbers given", "(7 and 2)"),
    ("a credit's entry is gone", ["DELETE FROM credit_entry WHERE kind = 'used' AND id = (SELECT"
     " min(id) FROM credit_entry WHERE kind = 'used')"], ["credit_entry"],
     "credits: promotions used = their lines", "acme, INV-000001"),
    ("a grant's entry", ["UPDATE credit_entry SET amount = amount + 5 WHERE kind = 'granted'"],
     ["credit_entry"], "credits: granted = what was approved", "acme, credit "),
    ("an exchange rate", ["UPDATE exchange_rate SET rate = 0.9"], ["exchange_rate"],
     "rates of invoices = rates that were recorded", "globex, INV-000002 USD CHF ECB"),
    ("the rate of an invoice", ["UPDATE invoice SET rate = 0.9 WHERE number = 'INV-000002'"],
     ["invoice"], "rates of invoices = rates that were recorded", "globex, INV-000002"),
    ("a period", ["DELETE FROM billing_period WHERE name = '2026-10' AND tenant_id = (SELECT id"
     " FROM tenant WHERE slug = 'acme')", "SELECT 1"], ["billing_period"],
     "charges that no period bills", "2026-10-10 09:00 UTC, acme, charge "),
    ("evidence of a file", ["UPDATE export_artifact SET sha256 = 'x'"], ["export_artifact"],
     "files exported = files that are as they were", "has other bytes"),
]  # fmt: skip


@pytest.fixture
def books(acme, globex, gateway, fin, vic, settings, tmp_path):
    settings.QM_EXPORTS_DIR = tmp_path
    make_books(acme, globex, gateway, fin, vic)
    return tmp_path


@pytest.mark.django_db(transaction=True)
@pytest.mark.timeout(300)
def test_every_damage_is_found_and_named(books):
    """One after the other in the same books, which are whole again in between."""
    before, status = check()
    assert status == 0, [line for line in before if "DIFFERS" in line]
    missed = {}
    for done, statements, tables, said, named in DAMAGE:
        with damaged(statements, tables):
            lines, status = check()
        found = [line for line in lines if "DIFFERS" in line]
        if status != 1 or not any(said in line and named in line for line in found):
            missed[done] = found
    assert missed == {}
    assert check() == (before, 0)


@pytest.mark.django_db(transaction=True)
def test_files_that_changed_or_are_gone_are_named_and_so_are_their_manifests(books):
    files = [p for p in books.rglob("*") if p.is_file() and not p.name.endswith(".json")]
    assert check()[1] == 0
    for file in files[:1]:
        kept = file.read_bytes()
        manifest = file.with_name(f"{file.name}.manifest.json")
        said = manifest.read_text()
        for wrong in (kept + b"\n", None):
            file.unlink()
            if wrong is not None:
                file.write_bytes(wrong)
            says(f"{file.name} {'has other bytes' if wrong else 'is gone'}")
        file.write_bytes(kept)
        for wrong, why in (('"rows": 7', "something else"), ("{", "no manifest"), (None, "gone")):
            manifest.unlink()
            if wrong is not None:
                manifest.write_text(f"{{{wrong}}}" if ":" in wrong else wrong)
            says(why)
        manifest.write_text(said)
    assert check()[1] == 0


def says(text):
    lines, status = check()
    assert status == 1
    assert any(text in line for line in lines if "DIFFERS" in line), (text, lines)
