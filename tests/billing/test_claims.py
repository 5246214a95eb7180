"""The one supervisor of passes, over rows that row level security hides."""

from datetime import timedelta

import pytest
from django.db import DatabaseError

from billing.actions.exports import request_export
from billing.drive import exports
from billing.models import ExportJob
from tenants.base.claims import claimed
from tenants.base.scope import fleet_scope, scope_of
from tests.billing.factories import NOW
from tests.fixtures.kubernetes import until

pytestmark = pytest.mark.django_db(transaction=True)
HOLD = timedelta(seconds=4)


@pytest.fixture
def job(olga):
    with scope_of(olga):
        return request_export(
            olga, format="focus-1.2", file_type="csv", now=NOW,
            starts_at=NOW - timedelta(days=1), ends_at=NOW,
        )  # fmt: skip


def now_in(job):
    with fleet_scope():
        return ExportJob.objects.get(pk=job.pk)


def test_a_row_behind_policies_is_claimed_renewed_and_nobody_elses(job):
    with claimed(ExportJob, job.pk, hold=HOLD) as claim:
        assert claim == now_in(job).claim
        with claimed(ExportJob, job.pk) as second:
            assert second is None
        began = now_in(job).claim_until
        until("a renewal", lambda: now_in(job).claim_until > began)


def test_a_pass_that_raises_is_parked_with_its_traceback_and_waits_longer_each_time(job):
    waits = []
    for _ in range(2):
        with pytest.raises(ValueError, match="poisoned"), claimed(ExportJob, job.pk):
            raise ValueError("poisoned")
        row = now_in(job)
        assert row.claim is None
        assert "poisoned" in row.failure
        waits.append(row.look_again)
    assert waits[1] - waits[0] > timedelta(seconds=30)
    assert now_in(job).failures == 2


def test_what_an_export_did_not_expect_holds_its_row_up_no_longer(job, monkeypatch):
    def broken(*_):
        raise RuntimeError("nobody thought of that")

    monkeypatch.setattr(exports, "_make", broken)
    with pytest.raises(RuntimeError):
        exports.run_due(NOW)
    row = now_in(job)
    assert (row.claim, row.state) == (None, ExportJob.State.WAITING)
    assert "nobody thought of that" in row.failure


def test_a_transaction_that_broke_is_parked_too(job):
    with pytest.raises(DatabaseError), claimed(ExportJob, job.pk), fleet_scope():
        ExportJob.objects.filter(pk=job.pk).update(state=None)
    assert now_in(job).claim is None
