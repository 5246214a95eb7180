"""Files of the operator's books and costs are not a tenant's, though they were cut for it."""

from datetime import time

import pytest

from billing.actions.exports import request_export
from billing.actions.ledger import number_account
from billing.actions.schedules import create_schedule
from billing.drive.exports import run_due
from billing.queries.events import list_events
from billing.queries.exports import get_export, list_exports, list_schedules, open_export
from billing.rules.datasets import OF_FLEET
from billing.rules.journal import ACCOUNTS
from tenants.base.scope import fleet_scope, scope_of
from tenants.errors import NotFound
from tests.billing import factories
from tests.billing.factories import NOW, SYSTEM
from tests.billing.test_exports import END, START

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("format", ["ledger", "focus-1.4-cost"])
def test_a_tenants_people_neither_see_nor_fetch_it(fiona, acme, settings, tmp_path, format):
    settings.QM_EXPORTS_DIR = tmp_path
    own = factories.viewer("finance", acme)
    with fleet_scope():
        for number, account in enumerate(ACCOUNTS):
            number_account(SYSTEM, account, number=f"1{number:03}", name="", expected=0)
    with scope_of(fiona):
        given = {"starts_at": START, "ends_at": END, "now": NOW, "tenant_id": acme.pk}
        theirs = request_export(fiona, format="csv", **given)
        ours = request_export(fiona, format=format, **given)
        create_schedule(
            fiona, name="Ours", format=format, local_time=time(2), time_zone="UTC", now=NOW,
            tenant_id=acme.pk,
        )  # fmt: skip
    assert run_due(NOW) == 2
    assert format in OF_FLEET
    with scope_of(own):
        assert [job.pk for job in list_exports(own, tenant_id=acme.pk)] == [theirs.pk]
        assert not list_schedules(own).exists()
        for look in (get_export, open_export):
            with pytest.raises(NotFound):
                look(own, ours.pk)
        told = [e.payload for e in list_events(own)]
        assert len(told) == 1 and '"format":"csv"' in told[0]
    with scope_of(fiona):
        assert {job.pk for job in list_exports(fiona, tenant_id=acme.pk)} == {theirs.pk, ours.pk}
        assert any(f'"format":"{format}"' in e.payload for e in list_events(fiona))
