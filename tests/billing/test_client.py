"""The client that is generated from the schema: it is typed, and reconciles a month by itself."""

import os
import shutil
import subprocess
import sys
from decimal import Decimal

import pytest

from sandbox.bootstrap import TREE
from sandbox.quality.client import generate
from tests.billing.books import bill_month, close_month, set_account, spend, tax
from tests.billing.damaged import damaged
from tests.billing.doors import make_token
from tests.billing.factories import make_prices, make_source, make_tenant

SCRIPT = TREE / "docs" / "finance" / "reconcile.py"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The generated package, with the script beside it."""
    made = tmp_path_factory.mktemp("client")
    generate(made / "quartermaster_client")
    shutil.copy(SCRIPT, made)
    return made


@pytest.fixture
def acme(transactional_db):
    tenant = make_tenant("acme")
    make_prices({"chat": {m: Decimal("1234.567") for m in ("prompt", "cached", "completion")}})
    set_account(tenant, taxes=(tax("VAT", "0.19"),))
    spend(make_source(), tenant)
    return tenant


def reconcile(folder, live_server, secret, tenant="acme", month="2026-10"):
    done = subprocess.run(
        [sys.executable, SCRIPT.name, tenant, month], cwd=folder, text=True,
        capture_output=True, check=False,
        env=os.environ | {"QM_URL": live_server.url, "QM_TOKEN": secret, "PYTHONPATH": str(folder)},
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


@pytest.mark.timeout(900)
def test_client_and_script_pass_the_strictest_type_check(folder):
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file", os.devnull, SCRIPT.name],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]


def test_it_reconciles_a_billed_month(folder, acme, live_server):
    invoice = bill_month(acme)
    status, said = reconcile(folder, live_server, make_token("fiona", "finance"))
    assert status == 0, said
    assert "DIFFER" not in said and "1 invoices, 0 that differ" in said
    assert said.count(invoice.number) >= 3 + 2 * invoice.lines.filter(kind="usage").count()


def test_it_finds_a_line_that_is_not_the_sum_of_its_charges(folder, acme, live_server):
    invoice = bill_month(acme)
    one_more = (
        "UPDATE charge SET quantity = quantity + 1, amount = (quantity + 1) * unit_price"
        " WHERE id = (SELECT min(id) FROM charge)"
    )
    with damaged([one_more], ["charge"]):
        status, said = reconcile(folder, live_server, make_token("fiona", "finance"))
    assert status == 1, said
    assert "DIFFER" in said and "1 invoices, 1 that differ" in said
    assert invoice.number in said


def test_it_says_what_stands_in_the_way(folder, acme, live_server):
    secret = make_token("fiona", "finance")
    status, said = reconcile(folder, live_server, secret)
    assert status == 2 and "not there" in said
    close_month(acme)
    assert reconcile(folder, live_server, secret, tenant="globex")[0] == 2
    status, said = reconcile(folder, live_server, "qmt_wrong")
    assert status == 2 and "credential" in said
