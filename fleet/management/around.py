"""Verbs of `manage.py rollout` about what is around one rollout: plans, turns, calendar, places."""

from argparse import ArgumentParser
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from fleet.actions import freezes, sequences
from fleet.actions import rollouts as actions
from fleet.management import telling
from fleet.models import Release
from fleet.queries.freezes import list_freezes
from fleet.queries.plans import plan_rollout, prices_of
from fleet.queries.queue import list_queues
from fleet.queries.rollout_pods import get_log
from fleet.queries.sequences import list_sequences
from fleet.queries.services import get_service
from fleet.rules.audience import Asked
from fleet.rules.begins_within import BeginsWithin
from fleet.rules.gate_limits import CHOICES, limits_in
from fleet.rules.proposal import read_lines
from fleet.rules.situation import StepPlan
from tenants.base.scope import scope_of
from tenants.errors import NotFound
from tenants.rules.access import Viewer

SEQUENCES = {
    "pause": sequences.pause_sequence,
    "resume": sequences.resume_sequence,
    "end": sequences.end_sequence,
    "rollback": sequences.roll_back_sequence,
}


class Around(BaseCommand):
    """Mixed into the command; each method is one verb."""

    def tell(self, lines: Any) -> None:
        for line in lines:
            self.stdout.write(line)

    def do_plan(self, viewer: Viewer, options: dict[str, Any]) -> None:
        with scope_of(viewer):
            found = plan_rollout(
                viewer,
                *pair(viewer, options["service"], options["release"]),
                replicas=options["replicas"],
                steps=steps_of(options["step"]),
                soak_seconds=options["soak"],
                begins=begins_of(options),
            )
            self.tell(telling.plan_lines(found, prices_of(viewer, found)))

    def do_queue(self, viewer: Viewer, options: dict[str, Any]) -> None:
        with scope_of(viewer):
            self.tell(telling.queue_lines(list_queues(viewer)))

    def do_freezes(self, viewer: Viewer, options: dict[str, Any]) -> None:
        with scope_of(viewer):
            self.tell(telling.freeze_lines(list_freezes(viewer, timezone.now(), past=False)))

    def do_sequences(self, viewer: Viewer, options: dict[str, Any]) -> None:
        with scope_of(viewer):
            self.tell(telling.sequence_lines(list_sequences(viewer)))

    def do_sequence(self, viewer: Viewer, options: dict[str, Any]) -> None:
        wish = options["wish"]
        with scope_of(viewer):
            found = SEQUENCES[wish](viewer, options["sequence"], why=options["why"])
        self.stdout.write(f"Asked: {wish} of {found}")
        self.do_sequences(viewer, options)

    def do_log(self, viewer: Viewer, options: dict[str, Any]) -> None:
        with scope_of(viewer):
            log = get_log(viewer, options["rollout"], options["log"])
        self.stdout.write(log.text or log.trouble)

    def skip_gate(self, viewer: Viewer, options: dict[str, Any]) -> None:
        with scope_of(viewer):
            step = options["gate"] - 1
            actions.skip_gate(viewer, options["rollout"], step, why=options["why"])

    def do_exception(self, viewer: Viewer, options: dict[str, Any]) -> None:
        with scope_of(viewer):
            change = freezes.ask_exception(viewer, options["rollout"], why=options["why"])
        self.stdout.write(f"Asked: change {change} waits for somebody else to approve it")


def add_choice(parser: ArgumentParser) -> None:
    """What one may choose of a plan."""
    parser.add_argument("service", help="its name")
    parser.add_argument("release", type=int, help="its number within the service: 7 for r7")
    parser.add_argument("--replicas", type=int)
    parser.add_argument("--soak", type=int, help="seconds")
    parser.add_argument(
        "--step", action="append", default=[], help="[shadow] percent, hold, samples"
    )
    parser.add_argument("--begins-from", default="", help="not earlier: 2026-11-30T22:00Z")
    parser.add_argument("--begins-before", default="", help="not later; then it has expired")


def add_audience(parser: ArgumentParser) -> None:
    many: dict[str, Any] = {"action": "append", "default": []}
    parser.add_argument("--first", help="tenant, or tenant/application, that goes first", **many)
    parser.add_argument("--first-class", help="traffic class that goes first", **many)
    parser.add_argument("--last", help="tenant that keeps the old release until the end", **many)


def audience_of(options: dict[str, Any]) -> Asked:
    return Asked(tuple(options["first"]), tuple(options["first_class"]), tuple(options["last"]))


def add_limits(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--limit",
        action="append",
        default=[],
        help=f"of the gates, as ttft_ratio=1.5 or cache_points=none: {', '.join(CHOICES)}",
    )


def limits_of(options: dict[str, Any]) -> dict[str, float | None]:
    try:
        return limits_in(options["limit"])
    except ValueError as error:
        raise CommandError(str(error)) from error


def begins_of(options: dict[str, Any]) -> BeginsWithin | None:
    opens, closes = options["begins_from"], options["begins_before"]
    return BeginsWithin(moment_of(opens), moment_of(closes)) if opens or closes else None


def moment_of(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text) if text else None
    except ValueError as error:
        raise CommandError(f"'{text}' is not like 2026-11-30T22:00Z") from error
    return found.replace(tzinfo=found.tzinfo or UTC) if found else None


def steps_of(lines: list[str]) -> tuple[StepPlan, ...] | None:
    """None: the usual ones."""
    try:
        return read_lines(lines) if lines else None
    except ValueError as error:
        raise CommandError(str(error)) from error


def pair(viewer: Viewer, service: str, number: int) -> tuple[int, int]:
    found = get_service(viewer, service, timezone.now()).service
    release = Release.objects.filter(service=found.id, number=number).first()
    if release is None:
        raise NotFound(f"{service} has no release r{number}")
    return found.id, release.pk
