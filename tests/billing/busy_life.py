"""A year in which people decide: what waits in quarantine, what a period is closed in spite of,
which prices hold. Files are made by schedules, over downtimes, and the fleet's cost is shared.
"""

import json
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from uuid import UUID

from django.db.models import F

from billing.actions import quarantine
from billing.actions.allocation import allocate_due
from billing.actions.arrivals import fold_arrivals
from billing.actions.ingest import ingest
from billing.actions.node_prices import set_gpu_prices
from billing.actions.other_costs import import_other_costs
from billing.actions.periods import close, sign_off
from billing.actions.prices import draft_version
from billing.actions.publication import propose_version, publish_approved
from billing.actions.schedules import create_schedule
from billing.drive.exports import run_due
from billing.models import (
    EngineHour,
    ExportArtifact,
    ExportJob,
    ExportSchedule,
    GatewayHour,
    Invoice,
    OtherCost,
    QuarantineDecision,
    UsageQuarantine,
)
from billing.queries.periods import get_period, period_checks
from billing.rules.prefixes import PREFIXES_TYPE
from billing.rules.quarantine import Kind
from billing.rules.schedules import covered, next_run
from fleet.models import Cluster, GpuTime, Service
from tenants.base.scope import fleet_scope
from tests.billing.books import GRACE, engines_agree
from tests.billing.factories import SYSTEM, batch, cloud, usage
from tests.billing.life import HOUR, MONTHS, OPENED, WORKER, Life

GHOST = "ghost"  # a model that has no price
TOO_LATE = timedelta(days=70)
SERVICE = 1  # that answers all requests
HOLDER = "starts_at,ends_at,kind,name,model,currency,amount"


class BusyLife(Life):
    def __init__(self, *given):
        super().__init__(*given)
        self.scheduled = {}  # files of schedules by their id: path and content
        self.waiting = []  # in quarantine
        self.signed = self.decided = self.refused = self.downtimes = self.overtaken = 0

    # --- gateways -------------------------------------------------------------------------------

    def spend(self, tenant, count, since, until):
        before = len(self.events)
        super().spend(tenant, count, since, until)
        self.report([e["data"] for e in self.events[before:]])

    def report(self, sent):
        """What the gateway says that it wrote."""
        for data in sent:
            ended = datetime.fromtimestamp(data["finished_at"] // 10**6, tz=OPENED.tzinfo)
            hour = ended.replace(minute=0, second=0)
            row, is_new = GatewayHour.objects.get_or_create(
                hour=hour, worker=WORKER, started=1.0,
                defaults={"events": 1, "spool_events": 0, "spool_oldest_seconds": 0.0},
            )  # fmt: skip
            if not is_new:
                GatewayHour.objects.filter(pk=row.pk).update(events=F("events") + 1)
        self.survive(lambda: fold_arrivals(self.now))

    # --- quarantine -----------------------------------------------------------------------------

    def trouble(self, tenant):
        """An event that the door puts aside, sent twice; somebody asks, another person answers."""
        for row in self.waiting:
            self.settle_aside(row, Kind.DROP)
        self.waiting = []
        act = self.random.choice((self.too_late, self.wrong, self.of_nobody, self.turned_down))
        act(tenant)

    def too_late(self, tenant):
        at = self.now - TOO_LATE
        if at < OPENED + 12 * HOUR:
            return
        data = usage(tenant, at=at, prompt_tokens=self.random.randrange(1, 900_000),
                     cached_tokens=1, worker=WORKER)  # fmt: skip
        self.settle_aside(self.put_aside(data), Kind.TAKE)
        self.stored(data)

    def wrong(self, tenant):
        data = usage(tenant, at=self.now - HOUR, cached_tokens=500, worker=WORKER)
        right = data | {"cached_tokens": 50}
        self.settle_aside(self.put_aside(data), Kind.CORRECT, right)
        self.stored(right)

    def of_nobody(self, tenant):
        data = usage(tenant, at=self.now - HOUR, application_id=999_999, worker=WORKER)
        self.settle_aside(self.put_aside(data), Kind.DROP)

    def turned_down(self, tenant):
        data = usage(tenant, at=self.now - HOUR, application_id=999_999, worker=WORKER)
        row = self.put_aside(data)
        self.settle_aside(row, Kind.DROP, approve=False)
        self.waiting = [row]

    def put_aside(self, data):
        for _ in range(2):
            self.survive(lambda: ingest(self.gateway, batch(data), now=self.now))
        self.report([data])
        with fleet_scope():  # the database's clock is not that of this year
            row = UsageQuarantine.objects.get(event_id=data["request_id"])
            UsageQuarantine.objects.filter(pk=row.pk).update(received_at=self.now)
            return row

    def stored(self, data):
        received_at = self.now.isoformat()
        self.events.append({"id": data["request_id"], "received_at": received_at, "data": data})
        self.settle()

    def settle_aside(self, row, kind, corrected=None, *, approve=True):
        def ask():
            given = {"why": "They said so", "now": self.now}
            if kind is Kind.CORRECT:
                text = json.dumps(cloud(corrected))
                return quarantine.ask_to_correct(self.fin, row.pk, corrected=text, **given)
            return quarantine.ask(self.fin, [row.pk], kind=kind, **given)

        decision = self.in_fleet(ask)
        self.is_refused(ask)
        self.decide(decision.change_id, approve=approve)
        self.survive(lambda: quarantine.apply_decisions(self.now))
        assert quarantine.apply_decisions(self.now) == 0
        with fleet_scope():
            found = QuarantineDecision.objects.get(pk=decision.pk)
            assert found.state == ("done" if approve else "refused")
            assert UsageQuarantine.objects.filter(pk=row.pk).exists() is not approve
        self.decided += 1

    # --- prices ---------------------------------------------------------------------------------

    def hold(self, slug, prices, starts_at, ends_at):
        """By four eyes; now and then the first answer is no."""
        number = self.in_fleet(draft_version, SYSTEM, slug, prices=prices).number
        for approve in (False, True) if self.random.random() < 0.3 else (True,):
            version = self.in_fleet(
                propose_version, self.fin, slug, number, starts_at=starts_at, ends_at=ends_at,
                now=self.now, why="agreed",
            )  # fmt: skip
            self.decide(version.change_id, approve=approve)
            self.survive(lambda: publish_approved(self.now))
            assert publish_approved(self.now) == 0
            self.refused += not approve
        with fleet_scope():
            version.refresh_from_db()
        assert version.published_at is not None

    # --- books ----------------------------------------------------------------------------------

    def shut(self, pk):
        """What stands in the way is signed by a person, each by itself, or it does not close."""
        self.overtake(pk)
        if self.random.random() < 0.4:
            self.doubt(pk)

        def left():
            checks = period_checks(SYSTEM, get_period(SYSTEM, pk), now=self.now, grace=GRACE)
            return [c.key.value for c in checks if not c.is_green]

        with fleet_scope():
            keys = left()
        for key in keys:
            self.is_refused(lambda: close(SYSTEM, pk, now=self.now, grace=GRACE))
            given = {"key": key, "why": "Looked at", "now": self.now, "grace": GRACE}
            self.in_fleet(sign_off, self.fin, pk, **given)
            self.is_refused(lambda given=given: sign_off(self.fin, pk, **given))
            self.signed += 1
        super().shut(pk)

    def overtake(self, pk):
        """Usage of the month that comes after its cut-off; by dice of its own."""
        dice, self.random = self.random, Random(f"{pk} {self.now}")
        if self.random.random() < 0.5:
            with fleet_scope():
                period = get_period(SYSTEM, pk)
            self.until(self.now + timedelta(minutes=5))
            oldest = max(period.starts_at, self.now - timedelta(days=60))
            tenant = next(t for t in self.tenants if t.pk == period.tenant_id)
            self.spend(tenant, 3, oldest, period.ends_at)
            self.settle()
            engines_agree()
            self.overtaken += 1
        self.random = dice

    def doubt(self, pk):
        """An engine says that it counted more in an hour of the period."""
        with fleet_scope():
            period = get_period(SYSTEM, pk)
        hours = EngineHour.objects.filter(hour__gte=period.starts_at, hour__lt=period.ends_at)
        if found := hours.order_by("hour").first():
            EngineHour.objects.filter(pk=found.pk).update(prompt_tokens=F("prompt_tokens") * 2 + 9)

    # --- files of schedules ---------------------------------------------------------------------

    def open_books(self):
        super().open_books()
        first, second = self.tenants
        plans = (
            (first.pk, "chargeback", "monthly", 5, "Europe/Berlin"),
            (second.pk, "csv", "weekly", 7, "America/Santiago"),
            (None, "csv", "daily", 1, "Asia/Kolkata"),
        )
        for tenant_id, format, rhythm, day, zone in plans:
            self.in_fleet(
                create_schedule, self.fin, now=self.now, tenant_id=tenant_id, name=rhythm,
                format=format, rhythm=rhythm, day=day, time_zone=zone, local_time=time(2, 30),
            )  # fmt: skip
        self.open_fleet()

    def work_or_not(self):
        """Workers make what is due, or are down until somebody comes back."""
        if self.random.random() < 0.5:
            self.downtimes += 1
            return
        self.survive(lambda: run_due(self.now))

    def collect(self):
        """Keep what schedules made, to see that it never changes."""
        with fleet_scope():
            rows = ExportArtifact.objects.filter(job__schedule_id__isnull=False)
            for row in rows.exclude(pk__in=list(self.scheduled)):
                self.scheduled[row.pk] = row.path, (Path(self.folder) / row.path).read_bytes()

    def nothing_is_owed(self):
        """Every file that was due is there, once; of days, those that hold the others."""
        self.survive(lambda: run_due(self.now))
        assert run_due(self.now) == 0
        self.collect()
        with fleet_scope():
            for schedule in ExportSchedule.objects.all():
                jobs = ExportJob.objects.filter(schedule=schedule)
                assert set(jobs.values_list("state", flat=True)) == {"done"}
                made = [(j.starts_at, j.ends_at) for j in jobs if j.due_at]
                assert len(made) == len(set(made)), "a file was made twice"
                due = next_run(OPENED, schedule.plan)
                while due <= self.now:
                    # As instants: a midnight that a clock change skips equals no other time.
                    starts_at, ends_at = (x.astimezone(UTC) for x in covered(due, schedule.plan))
                    assert any(s == starts_at and ends_at <= e for s, e in made), due
                    due = next_run(due, schedule.plan)
                billed = Invoice.objects.filter(tenant_id=schedule.tenant_id).count()
                names_them = schedule.format == "chargeback"
                assert len(jobs) - len(made) == (billed if names_them else 0)

    # --- cost -----------------------------------------------------------------------------------

    def open_fleet(self):
        with fleet_scope():
            self.cluster = Cluster.objects.create(slug="dc1", name="DC 1", region="here")
            Service.objects.create(pk=SERVICE, name="chat", cluster=self.cluster)
        self.price_gpus("2.60", OPENED - timedelta(days=30))

    def price_gpus(self, hourly, starts_at):
        self.in_fleet(
            set_gpu_prices, SYSTEM, currency="USD", hourly={"H100": Decimal(hourly)},
            starts_at=starts_at, now=self.now, why="The provider said so",
        )  # fmt: skip

    def run_gpus(self):
        """In hours of the newest requests; each is attributed, again when late usage comes."""
        ends = [e["data"]["finished_at"] for e in self.events[-3:]]
        for hour in {int(end // 3_600_000_000) for end in ends}:
            at = datetime.fromtimestamp(hour * 3600, tz=OPENED.tzinfo)
            for state in "serving", "free":
                GpuTime.objects.get_or_create(
                    hour=at, cluster=self.cluster, gpu_product="H100", state=state,
                    service_id=SERVICE if state == "serving" else None,
                    defaults={"gpu_ms": 3_600_000 - self.random.randrange(1000)},
                )  # fmt: skip
        while self.survive(lambda: allocate_due(self.now)):
            pass
        assert allocate_due(self.now) == 0

    def pay_for_the_rest(self, number):
        """Bills of the platform and of a provider, sent twice."""
        starts = f"{MONTHS[number]}-01"
        ends = f"{MONTHS[number + 1]}-01" if number < 11 else "2027-01-01"
        amount = self.random.randrange(1, 90_000)
        text = "\n".join([
            HOLDER,
            f"{starts},{ends},platform,Nets,,USD,{amount}.07",
            f"{starts},{ends},hosted,Else,chat,USD,{amount // 3}.001",
        ])  # fmt: skip
        self.in_fleet(import_other_costs, SYSTEM, text, now=self.now)
        assert self.in_fleet(import_other_costs, SYSTEM, text, now=self.now).new == 0
        with fleet_scope():
            assert OtherCost.objects.count() == 2 * (number + 1)

    # --- one month ------------------------------------------------------------------------------

    def week(self, number, week):
        if self.random.random() < 0.3:
            self.trouble(self.random.choice(self.tenants))
        if week == 1 and self.random.random() < 0.3:
            self.be_unpriced(self.random.choice(self.tenants))
        if week == 2 and self.random.random() < 0.2:
            since = self.now.replace(minute=0) - timedelta(days=9)
            self.price_gpus(f"2.{self.random.randrange(10, 99)}", since)
        if week == 3:
            self.pay_for_the_rest(number)
        self.run_gpus()
        self.work_or_not()
        self.collect()
        for tenant in self.tenants:
            self.keep_prefixes(tenant)

    def keep_prefixes(self, tenant):
        """A store of prefixes reports an hour of the day before, twice; by dice of its own."""
        dice, self.random = self.random, Random(f"{tenant.slug} {self.now}")
        began = self.now.replace(minute=0, second=0, microsecond=0) - 24 * HOUR
        micros = round(began.timestamp()) * 10**6
        data = {
            "tenant_id": tenant.pk, "application_id": tenant.app.pk,
            "model": self.random.choice(("chat", "code")),
            "gib_hours": f"{self.random.randrange(10**8)}e-6",
            "started_at": micros, "finished_at": micros + self.random.randrange(1, 60) * 60_000_000,
        }  # fmt: skip
        event = cloud(data | {"request_id": f"{UUID(int=self.random.getrandbits(128), version=4)}"},
                      type=PREFIXES_TYPE)  # fmt: skip
        for _ in range(2):
            self.survive(lambda: ingest(self.gateway, json.dumps([event]).encode(), now=self.now))
        self.events.append(event | {"received_at": self.now.isoformat(), "data": data})
        self.settle()
        self.random = dice

    def be_unpriced(self, tenant):
        data = usage(tenant, at=self.now - HOUR, model=GHOST, worker=WORKER)
        self.survive(lambda: ingest(self.gateway, batch(data), now=self.now))
        self.report([data])
        self.stored(data)
