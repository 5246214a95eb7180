"""Drills of the way back and of lost pods, from a terminal.

manage.py drill list
manage.py drill show 3
manage.py drill plan SERVICE 7 --as olga@example.org --at step --number 1 --why "..."
    [--traffic-back 10] [--full-back 600] [--lost 0]     seconds, seconds, requests
    [--plan surge_canary] [--step "25, 300, 100"] [--soak 600] [--consent]
manage.py drill lose-pod SERVICE --as olga@example.org --why "..." [--consent]
    [--traffic-back 30] [--full-back 600] [--lost 0]     seconds, seconds, requests
manage.py drill report 3               writes the report now, where it has ended

A rollout of a drill is approved and driven as any other: manage.py rollout approve, rollout drive.
"""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from fleet.actions.drills import propose_drill, write_report
from fleet.actions.pod_losses import propose_pod_loss
from fleet.management.around import pair, steps_of
from fleet.management.commands.rollout import viewer_of
from fleet.queries.drills import DrillRow, get_drill, rows_of, search_drills
from fleet.queries.services import get_service
from fleet.rules.drill import USUAL, Limits, Moment
from fleet.rules.phases import PlanKind
from fleet.rules.pod_loss import USUAL as LOSS
from tenants.base.scope import scope_of
from tenants.errors import ConsoleError
from tenants.rules.access import Viewer


class Command(BaseCommand):
    help = "Look at drills of the way back and plan one"

    def add_arguments(self, parser: ArgumentParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        verbs.add_parser("list", help="all drills, newest first")
        for verb in ("show", "report"):
            verbs.add_parser(verb).add_argument("drill", type=int, help="its number")
        plan = verbs.add_parser("plan")
        plan.add_argument("service", help="its name")
        plan.add_argument("release", type=int, help="number of the release that is taken back")
        plan.add_argument("--as", required=True, metavar="EMAIL", help="who plans it")
        plan.add_argument("--why", default="", help="the approver reads it")
        plan.add_argument(
            "--at", required=True, choices=[m.value for m in Moment if m is not Moment.POD_LOST]
        )
        plan.add_argument("--number", type=int, default=1, help="of the step, from 1")
        plan.add_argument("--traffic-back", type=float, default=USUAL.traffic_back_seconds)
        plan.add_argument("--full-back", type=float, default=USUAL.full_back_seconds)
        plan.add_argument("--lost", type=int, default=USUAL.requests_lost)
        plan.add_argument("--plan", choices=[k.value for k in PlanKind])
        plan.add_argument("--step", action="append", default=[], help="percent, hold, samples")
        plan.add_argument("--soak", type=int, help="seconds")
        plan.add_argument("--consent", action="store_true", help="to a plan that needs it")
        lose = verbs.add_parser("lose-pod", help="plan that a replica is killed")
        lose.add_argument("service", help="its name")
        lose.add_argument("--as", required=True, metavar="EMAIL", help="who plans it")
        lose.add_argument("--why", default="", help="the approver reads it")
        lose.add_argument("--traffic-back", type=float, default=LOSS.traffic_back_seconds)
        lose.add_argument("--full-back", type=float, default=LOSS.full_back_seconds)
        lose.add_argument("--lost", type=int, default=LOSS.requests_lost)
        lose.add_argument("--consent", action="store_true", help="to the only replica as well")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            viewer = viewer_of(options)
            getattr(self, f"do_{options['verb'].replace('-', '_')}")(viewer, options)
        except ConsoleError as error:
            raise CommandError(error.message) from error

    def do_list(self, viewer: Viewer, options: dict[str, Any]) -> None:
        with scope_of(viewer):
            rows = rows_of(search_drills(viewer))
        for d in rows:
            way = f"{d.from_label} -> {d.to_label}"
            self.stdout.write(f"{d.id:>5} {d.service:<24} {way:<14} {d.state:<10} {d.why}")

    def do_show(self, viewer: Viewer, options: dict[str, Any]) -> None:
        with scope_of(viewer):
            self.show(get_drill(viewer, options["drill"]))

    def do_plan(self, viewer: Viewer, options: dict[str, Any]) -> None:
        kind = options["plan"]
        with scope_of(viewer):
            made = propose_drill(
                viewer,
                *pair(viewer, options["service"], options["release"]),
                moment=Moment(options["at"]),
                step=options["number"],
                limits=Limits(options["traffic_back"], options["full_back"], options["lost"]),
                kind=PlanKind(kind) if kind else None,
                steps=steps_of(options["step"]),
                soak_seconds=options["soak"],
                reason=options["why"],
                consent=options["consent"],
            )
        self.do_show(viewer, options | {"drill": made.pk})

    def do_lose_pod(self, viewer: Viewer, options: dict[str, Any]) -> None:
        with scope_of(viewer):
            service = get_service(viewer, options["service"], timezone.now()).service
            made = propose_pod_loss(
                viewer,
                service.id,
                limits=Limits(options["traffic_back"], options["full_back"], options["lost"]),
                reason=options["why"],
                consent=options["consent"],
            )
        self.do_show(viewer, options | {"drill": made.pk})

    def do_report(self, viewer: Viewer, options: dict[str, Any]) -> None:
        with scope_of(viewer):
            drill = get_drill(viewer, options["drill"])
        if drill.state == "reporting":
            write_report(drill.id, timezone.now())
        elif drill.report is None:
            what = "its rollout" if drill.rollout_id else "it"
            raise CommandError(f"{drill.label} has not ended: {what} is {drill.phase}")
        self.do_show(viewer, options)

    def show(self, d: DrillRow) -> None:
        way = f"{d.from_label} -> {d.to_label} -> {d.from_label}, taken back {d.when}"
        told = way if d.rollout_id else f"{d.from_label}, {d.when}"
        self.stdout.write(f"{d.label} {d.service} {told}: {d.state}")
        self.stdout.write(f"  {d.why}")
        self.stdout.write(f"  {d.rollout or d.pod or 'no pod was chosen'} is {d.phase}")
        for check in (d.report or {}).get("checks", ()):
            kept = "kept" if check["passed"] else "NOT KEPT"
            self.stdout.write(f"  {check['name']}: {check['measured']}, {check['limit']}: {kept}")
        if d.digest:
            self.stdout.write(f"  report {d.reported_at:%Y-%m-%d %H:%M:%S} SHA-256 {d.digest}")
