"""The bells: each task does the whole of what is due, and a second bell finds nothing."""

import pytest
from django.utils import timezone

from billing import tasks
from billing.actions.ingest import ingest
from billing.models import Charge, HourMark
from console.celery import app
from tenants.base.scope import fleet_scope
from tests.billing.factories import batch, make_prices, usage

pytestmark = pytest.mark.django_db


def test_it_has_a_task_for_every_bell():
    wanted = {entry["task"] for entry in app.conf.beat_schedule.values()}
    mine = {name for name in wanted if name.startswith("billing.")}
    assert mine == {
        f"billing.tasks.{name}"
        for name in (
            "roll_up",
            "keep_periods",
            "keep_budgets",
            "keep_credits",
            "deliver_events",
            "find_anomalies",
            "warn_of_ends",
            "rate",
            "publish_prices",
            "preview_prices",
            "keep_engine_hours",
            "keep_gateway_hours",
            "fold_arrivals",
            "decide_quarantine",
            "allocate",
            "weigh_tokens",
            "forget_gpu_intervals",
            "forget_seen",
            "make_event_parts",
            "drop_event_parts",
            "call_people",
            "run_exports",
            "deliver_exports",
            "reconcile",
        )
    }
    assert mine <= set(app.tasks)


def test_it_brings_usage_to_charges_by_bells_alone(acme, gateway):
    now = timezone.now()
    make_prices(now=now)
    ingest(gateway, batch(usage(acme, at=now)), now=now)
    for _ in range(2):
        for task in (
            tasks.roll_up,
            tasks.publish_prices,
            tasks.rate,
            tasks.keep_budgets,
            tasks.allocate,
            tasks.run_exports,
        ):
            task()
    with fleet_scope():
        assert Charge.objects.count() == 3
        assert not HourMark.objects.exists()
