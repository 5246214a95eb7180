"""Scheduled exports: when they are due, and that downtime, edits and kills lose no file."""

import threading
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.db import connection
from hypothesis import given
from hypothesis import strategies as st

from billing.actions.schedules import change_schedule, create_schedule, remove_schedule
from billing.drive.exports import run_due
from billing.models import ExportJob, ExportSchedule
from billing.rules.schedules import Plan, covered, month_to_yesterday, next_run, owed
from tenants.base.scope import fleet_scope, scope_of
from tenants.errors import Forbidden, Invalid, NotFound, Stale
from tenants.models import AuditEvent
from tests.billing.factories import NOW

ZONES = (
    *("UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Africa/Cairo"),
    *("Australia/Lord_Howe", "America/Santiago", "Pacific/Auckland"),
)


def at(month, day, hour=2, minute=0, year=2026):
    return datetime(year, month, day, hour, minute, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _folder(settings, tmp_path):
    settings.QM_EXPORTS_DIR = tmp_path / "exports"


def schedule(who, now, **terms):
    given = {"name": "Finance", "format": "csv", "local_time": time(2), "time_zone": "UTC"}
    with scope_of(who):
        return create_schedule(who, now=now, **given | terms)


def jobs():
    with fleet_scope():
        rows = ExportJob.objects.order_by("due_at")
        return [(j.starts_at, j.ends_at) for j in rows]


def test_it_takes_a_time_that_the_clock_skips_an_hour_later():
    plan = Plan(time(2, 30), "Europe/Berlin")
    due = next_run(at(3, 28, 12), plan)
    assert due == at(3, 29, 1, 30)
    assert next_run(due, plan) == at(3, 30, 0, 30)


def test_it_takes_a_time_that_comes_twice_the_first_time():
    plan = Plan(time(2, 30), "Europe/Berlin")
    due = next_run(at(10, 24, 12), plan)
    assert due == at(10, 25, 0, 30)
    assert next_run(due, plan) == at(10, 26, 1, 30)


def test_it_covers_the_whole_month_before_on_the_first():
    month = month_to_yesterday(at(12, 1), time_zone="UTC")
    assert (month.starts_at, month.ends_at) == (at(11, 1, 0), at(12, 1, 0))


COVERED = {
    "a week with the clock set back": (
        Plan(time(2), "Europe/Berlin", "weekly", 1),
        at(10, 26, 1),
        (at(10, 18, 22), at(10, 25, 23)),
    ),
    "a month with the clock set forward": (
        Plan(time(2), "Europe/Berlin", "monthly", 3),
        at(4, 3, 0),
        (at(2, 28, 23), at(3, 31, 22)),
    ),
    "the month before on its last possible day": (
        Plan(time(2), "UTC", "monthly", 28),
        at(2, 28),
        (at(1, 1, 0), at(2, 1, 0)),
    ),
}


@pytest.mark.parametrize("case", COVERED)
def test_it_covers(case):
    plan, due, want = COVERED[case]
    assert next_run(due - timedelta(seconds=1), plan) == due
    assert covered(due, plan) == want


OWED = {
    "one day late": (Plan(time(2), "UTC"), at(11, 3), at(11, 3, 5), [at(11, 3)]),
    "days of one month: the last contains the others": (
        Plan(time(2), "UTC"), at(11, 3), at(11, 20), [at(11, 20)],
    ),
    "down over the end of a month": (
        Plan(time(2), "UTC"), at(10, 31), at(11, 2, 9), [at(11, 1), at(11, 2)],
    ),
    "down for three months": (
        Plan(time(2), "UTC"), at(9, 5), at(11, 2, 9), [at(10, 1), at(11, 1), at(11, 2)],
    ),
    "weeks contain nothing else": (
        Plan(time(2), "UTC", "weekly", 1), at(11, 9), at(11, 20), [at(11, 9), at(11, 16)],
    ),
    "months neither": (
        Plan(time(2), "UTC", "monthly", 5), at(9, 5), at(11, 20), [at(9, 5), at(10, 5), at(11, 5)],
    ),
    "nothing is due": (Plan(time(2), "UTC"), at(11, 3), at(11, 3, 1), []),
}  # fmt: skip


@pytest.mark.parametrize("case", OWED)
def test_it_owes(case):
    plan, next_at, now, want = OWED[case]
    assert owed(next_at, plan, now) == want


@given(
    zone=st.sampled_from(ZONES),
    hour=st.integers(0, 23),
    minute=st.sampled_from((0, 30)),
    rhythm=st.sampled_from((("daily", 1), ("weekly", 3), ("monthly", 1), ("monthly", 28))),
    start=st.datetimes(datetime(2026, 1, 1), datetime(2027, 6, 1)).map(
        lambda d: d.replace(tzinfo=UTC)
    ),
    days=st.integers(0, 120),
)
def test_what_is_owed_holds_every_day_of_what_was_due(zone, hour, minute, rhythm, start, days):
    """The days of the files that were never made are those of the files that are."""
    plan = Plan(time(hour, minute), zone, *rhythm)
    first, now = next_run(start, plan), start + timedelta(days=days)
    due, all_due = first, []
    while due <= now:
        all_due.append(due)
        assert due < next_run(due, plan)
        due = next_run(due, plan)
    made = [covered(d, plan) for d in owed(first, plan, now)]
    for one in all_due:
        starts_at, ends_at = covered(one, plan)
        assert starts_at < ends_at <= one
        assert starts_at.astimezone(ZoneInfo(zone)).day == 1 or plan.rhythm == "weekly"
        assert any(s == starts_at and ends_at <= e for s, e in made)
    assert len(set(made)) == len(made)


@pytest.mark.django_db
def test_it_exports_every_day_at_the_zones_time(fiona):
    made = schedule(fiona, NOW, time_zone="Europe/Berlin")
    assert made.next_at == at(11, 21, 1)
    assert run_due(NOW) == 0
    later = datetime(2026, 11, 21, 1, 0, 5, tzinfo=UTC)
    assert run_due(later) == 1
    assert run_due(later) == 0
    assert jobs() == [(at(10, 31, 23), at(11, 20, 23))]
    with fleet_scope():
        made.refresh_from_db()
    assert made.next_at == at(11, 22, 1)


@pytest.mark.django_db
def test_a_machine_that_was_down_over_the_end_of_a_month_makes_its_file(fiona):
    schedule(fiona, at(10, 30, 12))
    assert run_due(at(11, 2, 9)) == 2
    assert run_due(at(11, 2, 9)) == 0
    october, november = (at(10, 1, 0), at(11, 1, 0)), (at(11, 1, 0), at(11, 2, 0))
    assert jobs() == [october, november]


@pytest.mark.django_db
@pytest.mark.parametrize("change", [{"name": "Books"}, {"local_time": time(1)}, {"enabled": False}])
def test_a_change_while_the_workers_are_down_loses_nothing(fiona, change):
    made = schedule(fiona, at(10, 31, 1))
    with scope_of(fiona):
        change_schedule(fiona, made.pk, expected=1, now=at(11, 1, 3), **change)
    assert jobs()[0] == (at(10, 1, 0), at(11, 1, 0))


@pytest.mark.django_db
def test_a_time_that_is_moved_behind_now_is_made_at_once(fiona):
    """It was 03:00, becomes 02:00 at 02:30 of the first: the month that ended is not left out."""
    made = schedule(fiona, at(10, 30, 1), local_time=time(3))
    run_due(at(10, 31, 4))
    with scope_of(fiona):
        changed = change_schedule(
            fiona, made.pk, expected=1, now=at(11, 1, 2, 30), local_time=time(2)
        )
    assert changed.next_at == at(11, 2)
    assert jobs()[-1] == (at(10, 1, 0), at(11, 1, 0))


@pytest.mark.django_db
def test_nothing_is_owed_of_a_pause(fiona):
    made = schedule(fiona, at(10, 20, 1))
    with scope_of(fiona):
        change_schedule(fiona, made.pk, expected=1, now=at(10, 20, 1), enabled=False)
        change_schedule(fiona, made.pk, expected=2, now=at(12, 5, 1), enabled=True, name="Again")
        made = change_schedule(fiona, made.pk, expected=3, now=at(12, 5, 1), rhythm="weekly", day=7)
    assert made.next_at == at(12, 6)
    assert run_due(at(12, 5, 1)) == 0


@pytest.mark.django_db
def test_it_changes_what_a_schedule_is_and_says_so_in_the_audit(fiona):
    made = schedule(fiona, NOW)
    with scope_of(fiona):
        change_schedule(
            fiona, made.pk, expected=1, now=NOW, format="focus-1.4", file_type="parquet",
            time_zone="Asia/Kolkata", rhythm="monthly", day=3,
        )  # fmt: skip
        with pytest.raises(Stale):
            change_schedule(fiona, made.pk, expected=1, now=NOW, name="Late")
    assert run_due(at(12, 2, 20, 30)) == 1
    with fleet_scope():
        job = ExportJob.objects.get()
        event = AuditEvent.objects.get(verb="export_schedule.change")
    assert (job.format, job.file_type, job.starts_at) == (
        "focus-1.4", "parquet", datetime(2026, 11, 1, tzinfo=ZoneInfo("Asia/Kolkata")),
    )  # fmt: skip
    assert (event.before["rhythm"], event.after["rhythm"]) == ("daily", "monthly")


@pytest.mark.django_db
def test_removing_makes_what_is_due_and_keeps_the_files(fiona):
    made = schedule(fiona, at(10, 30, 12))
    run_due(at(10, 31, 3))
    with scope_of(fiona):
        remove_schedule(fiona, made.pk, expected=1, now=at(11, 1, 3))
    assert run_due(at(11, 1, 3)) == 1
    assert run_due(at(12, 1, 3)) == 0
    with fleet_scope():
        assert not ExportSchedule.objects.exists()
        last = ExportJob.objects.order_by("due_at").last()
        assert AuditEvent.objects.filter(verb="export_schedule.remove").count() == 1
    assert (last.schedule_id, last.requested_by) == (None, "schedule:Finance")
    assert (last.starts_at, last.ends_at) == (at(10, 1, 0), at(11, 1, 0))


@pytest.mark.django_db
@pytest.mark.parametrize(
    "change",
    [
        {"time_zone": "Mars/Olympus"},
        {"rhythm": "yearly"},
        {"rhythm": "weekly", "day": 8},
        {"rhythm": "monthly", "day": 29},
        {"day": 2},
        {"name": " "},
        {"format": "xls"},
    ],
)
def test_it_refuses_a_schedule_that_cannot_be(fiona, change):
    made = schedule(fiona, NOW)
    with scope_of(fiona), pytest.raises(Invalid):
        change_schedule(fiona, made.pk, expected=1, now=NOW, **change)


@pytest.mark.django_db
def test_only_who_manages_money_changes_schedules(fiona, olga, mallory):
    made = schedule(fiona, NOW)
    for act in (
        lambda who: change_schedule(who, made.pk, expected=1, enabled=False, now=NOW),
        lambda who: remove_schedule(who, made.pk, expected=1, now=NOW),
    ):
        with scope_of(olga), pytest.raises(Forbidden):
            act(olga)
        with scope_of(mallory), pytest.raises(NotFound):
            act(mallory)


@pytest.mark.django_db(transaction=True)
def test_two_workers_and_a_killed_one_make_each_file_once(fiona, monkeypatch):
    schedule(fiona, at(9, 5, 12))
    schedule(fiona, at(9, 5, 12), name="Weekly", rhythm="weekly", day=1)
    now = at(11, 2, 9)

    def die(*_args, **_kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("billing.drive.exports.ExportSchedule.save", die)
        with pytest.raises(KeyboardInterrupt):
            run_due(now)
    assert jobs() == []

    def work():
        try:
            run_due(now)
        finally:
            connection.close()

    workers = [threading.Thread(target=work) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    run_due(now)
    with fleet_scope():
        rows = ExportJob.objects.order_by("schedule_id", "due_at")
        found = list(rows.values_list("schedule__name", "due_at", "state"))
    weeks = [at(9, 7) + timedelta(weeks=n) for n in range(9)]
    assert found == [
        *(("Finance", due, "done") for due in (at(10, 1), at(11, 1), at(11, 2))),
        *(("Weekly", due, "done") for due in weeks),
    ]
