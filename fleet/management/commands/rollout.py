"""Rollouts from a terminal, for the day when the web tier, Redis or the workers are down.

manage.py rollout list
manage.py rollout show 12              with gates, pods, events, logs, harm and cost
manage.py rollout log 12 3             all that is kept of log 3
manage.py rollout plan SERVICE 7       all ways side by side; nothing is stored
manage.py rollout queue|freezes|sequences
manage.py rollout propose SERVICE 7 --as olga@example.org --why "..." [--plan replace] [--consent]
    [--supersede]     an open rollout of the service is aborted for it
    [--step "shadow 10, 300, 50" --step "25, 300, 100, approval"]     percent, seconds, samples
    [--begins-from 2026-11-30T22:00Z --begins-before 2026-12-01T02:00Z]
    [--first acme --first globex/chat --first-class batch --last initech]
manage.py rollout approve|reject 12 --as vic@example.org --digest ... [--why "..."]
manage.py rollout pause|resume|abort|rollback 12 --as olga@example.org --why "..." [--drive]
manage.py rollout close 12 --as olga@example.org --why "..."     after a way back: what comes of it
manage.py rollout skip-gate 12 --gate 2 --as olga@example.org --why "..."
manage.py rollout exception 12 --as olga@example.org --why "..."     from a freeze
manage.py rollout sequence 3 pause|resume|end|rollback --as olga@example.org --why "..."
manage.py rollout drive 12             makes passes here until the rollout has ended
manage.py rollout rescue SERVICE --as olga@example.org --why "..."     goes back, from here
manage.py rollout rescue SERVICE --print       what kubectl would have to do instead
"""

from argparse import ArgumentParser
from collections.abc import Callable
from typing import Any

from django.core.management.base import CommandError

from fleet.actions import rollouts as actions
from fleet.actions.closing import close_rollout
from fleet.actions.waking import wake_by_change
from fleet.drive.foreground import drive_to_the_end
from fleet.management.around import (
    SEQUENCES,
    Around,
    add_audience,
    add_choice,
    add_limits,
    audience_of,
    begins_of,
    limits_of,
    pair,
    steps_of,
)
from fleet.management.telling import detail_lines, harm_lines
from fleet.models import Rollout
from fleet.queries.by_hand import not_begun, of_service, way_back_by_hand
from fleet.queries.rollout_harm import harm_of
from fleet.queries.rollouts import RolloutDetail, get_rollout, list_rollouts
from fleet.rules.phases import FINAL, GOING_BACK, Phase, PlanKind
from tenants.actions import changes
from tenants.base.scope import scope_of
from tenants.errors import Conflict, ConsoleError
from tenants.queries.access import viewer_of_email
from tenants.rules.access import Permission, Viewer, system_viewer

Act = Callable[..., Any]
WISHES: dict[str, Act] = {
    "pause": actions.pause_rollout,
    "resume": actions.resume_rollout,
    "abort": actions.abort_rollout,
    "rollback": actions.roll_back,
    "close": close_rollout,
}
LOOKING = ("list", "show", "drive")
DECISIONS = ("approve", "reject")
SEES = (Permission.VIEW, Permission.VIEW_FLEET, Permission.VIEW_MONEY)
MUST_SAY_WHY = ("abort", "rollback", "reject", "close")


class Command(Around):
    help = "Look at rollouts, propose and steer them, without web tier, workers and Redis"

    def add_arguments(self, parser: ArgumentParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        verbs.add_parser("list", help="all rollouts, newest first")
        for verb in ("show", *WISHES, *DECISIONS, "drive"):
            one = verbs.add_parser(verb)
            one.add_argument("rollout", type=int, help="its number")
            if verb not in LOOKING:
                add_person(one, why=verb in MUST_SAY_WHY)
            if verb in DECISIONS:
                one.add_argument("--digest", required=True, help="of what was seen, as shown")
            if verb in WISHES:
                one.add_argument("--drive", action="store_true", help="make the passes here")
        for verb in ("queue", "freezes", "sequences"):
            verbs.add_parser(verb)
        add_choice(verbs.add_parser("plan", help="compare all ways to a release"))
        add_proposal(verbs.add_parser("propose"))
        add_steering(verbs.add_parser)
        rescue = verbs.add_parser("rescue", help="take a service back, with the passes made here")
        rescue.add_argument("service", help="its name")
        add_person(rescue, why=False, needed=False)
        rescue.add_argument("--print", action="store_true", help="only print lines for kubectl")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            viewer = viewer_of(options)
            getattr(self, f"do_{door_of(options['verb'])}")(viewer, options)
        except ConsoleError as error:
            raise CommandError(error.message) from error

    def do_list(self, viewer: Viewer, options: dict[str, Any]) -> None:
        with scope_of(viewer):
            rows = list_rollouts(viewer)
        for r in rows:
            way = f"{r.from_label or '-'} -> {r.to_label}"
            self.stdout.write(f"{r.id:>5} {r.service:<24} {way:<14} {r.phase:<18} {r.why}")

    def do_show(self, viewer: Viewer, options: dict[str, Any]) -> None:
        with scope_of(viewer):
            self.show(get_rollout(viewer, options["rollout"]))
            self.tell(f"  {line}" for line in harm_lines(harm_of(viewer, options["rollout"])))

    def do_drive(self, viewer: Viewer, options: dict[str, Any]) -> None:
        drive_to_the_end(options["rollout"], self.stdout.write)
        self.do_show(viewer, options)

    def do_wish(self, viewer: Viewer, options: dict[str, Any]) -> None:
        verb = options["verb"]
        with scope_of(viewer):
            found = WISHES[verb](viewer, options["rollout"], why=options["why"]).pk
        self.stdout.write(f"Asked: {verb} of RO-{found}")
        if options["drive"]:
            drive_to_the_end(found, self.stdout.write)
        self.do_show(viewer, options | {"rollout": found})

    def do_decide(self, viewer: Viewer, options: dict[str, Any]) -> None:
        with scope_of(viewer):
            found = get_rollout(viewer, options["rollout"])
            of_step = found.rollout.phase == Phase.AWAITING_STEP_APPROVAL
            approval = found.step_approval if of_step else found.approval
            if approval is None:
                raise Conflict("Nobody has to approve this one")
            yes = options["verb"] == "approve"
            changes.decide(
                viewer,
                approval.change_id,
                digest=options["digest"],
                approve=yes,
                why=options["why"],
            )
            # The bell rings for a worker that may be dead: the row itself is due from now on.
            wake_by_change(approval.change_id)
        self.do_show(viewer, options)

    def do_propose(self, viewer: Viewer, options: dict[str, Any]) -> None:
        kind = options["plan"]
        with scope_of(viewer):
            found = actions.propose_rollout(
                viewer,
                *pair(viewer, options["service"], options["release"]),
                kind=PlanKind(kind) if kind else None,
                replicas=options["replicas"],
                steps=steps_of(options["step"]),
                soak_seconds=options["soak"],
                begins=begins_of(options),
                reason=options["why"],
                consent=options["consent"],
                audience=audience_of(options),
                supersede=options["supersede"],
                limits=limits_of(options),
            )
        self.do_show(viewer, options | {"rollout": found.pk})

    def do_skip_gate(self, viewer: Viewer, options: dict[str, Any]) -> None:
        self.skip_gate(viewer, options)
        self.do_show(viewer, options)

    def do_rescue(self, viewer: Viewer, options: dict[str, Any]) -> None:
        """Go back from whatever state the service is in, pass by pass in this terminal."""
        with scope_of(viewer):
            found = of_service(viewer, options["service"])
            if options["print"]:
                self.stdout.write("\n".join(way_back_by_hand(viewer, found.pk)))
                return
            if not options["as"] or not options["why"].strip():
                raise CommandError("Say who goes back (--as EMAIL) and why (--why): it is kept")
            last = found.phase in FINAL or found.waits
            waiting = not_begun(viewer, found.service_id) if last else ()
            for proposal in waiting:
                actions.abort_rollout(viewer, proposal.pk, why=options["why"])
        for proposal in waiting:
            self.stdout.write(f"{proposal}: ends, as nothing of it has begun")
            drive_to_the_end(proposal.pk, self.stdout.write)
        with scope_of(viewer):
            way = found
            if not goes_back(found):
                way = actions.roll_back(viewer, found.pk, why=options["why"])
        self.stdout.write(f"{way}: back to {goal_of(way)}")
        drive_to_the_end(way.pk, self.stdout.write)
        self.do_show(viewer, options | {"rollout": way.pk})

    def show(self, detail: RolloutDetail) -> None:
        r = detail.rollout
        self.stdout.write(
            f"{r.label} {r.service} {r.from_label or '-'} -> {r.to_label}: {r.phase}, wish {r.wish}"
        )
        self.stdout.write(f"  {r.why}")
        if detail.approval:
            a = detail.approval
            self.stdout.write(f"  approval {a.state}, digest {a.digest}")
        if detail.step_approval and r.phase == Phase.AWAITING_STEP_APPROVAL:
            a = detail.step_approval
            self.stdout.write(f"  approval of step {r.step + 1} {a.state}, digest {a.digest}")
        for event in detail.timeline:
            who = event.actor or "machine"
            self.stdout.write(f"  {event.at:%H:%M:%S} {event.phase:<18} {who}: {event.why}")
        self.tell(f"  {line}" for line in detail_lines(detail))


def door_of(verb: str) -> str:
    found = "wish" if verb in WISHES else "decide" if verb in DECISIONS else verb
    return found.replace("-", "_")


def add_person(parser: ArgumentParser, *, why: bool, needed: bool = True) -> None:
    parser.add_argument("--as", required=needed, default="", help="address of the person who acts")
    parser.add_argument("--why", required=why, default="", help="the reason, kept in the audit")


def add_proposal(parser: ArgumentParser) -> None:
    add_choice(parser)
    add_audience(parser)
    add_limits(parser)
    add_person(parser, why=True)
    parser.add_argument("--plan", choices=[k.value for k in PlanKind], default="")
    parser.add_argument("--consent", action="store_true", help="to a plan that needs it")
    parser.add_argument(
        "--supersede", action="store_true", help="abort the open rollout of the service for this"
    )


def add_steering(add: Callable[..., ArgumentParser]) -> None:
    log = add("log", help="all that is kept of one log")
    log.add_argument("rollout", type=int)
    log.add_argument("log", type=int, help="its number, as `show` prints it")
    skip = add("skip-gate", help="answer for the gate of a step oneself")
    skip.add_argument("rollout", type=int)
    skip.add_argument("--gate", type=int, required=True, help="number of the step, from 1")
    add_person(skip, why=True)
    exception = add("exception", help="ask for an exception from a freeze")
    exception.add_argument("rollout", type=int)
    add_person(exception, why=True)
    sequence = add("sequence", help="steer a sequence of rollouts")
    sequence.add_argument("sequence", type=int)
    sequence.add_argument("wish", choices=list(SEQUENCES))
    add_person(sequence, why=True)


def viewer_of(options: dict[str, Any]) -> Viewer:
    """The named person with their rights; who only looks needs no name in a terminal."""
    if email := options.get("as"):
        return viewer_of_email(email)
    return system_viewer("command line", SEES)


def goes_back(found: Rollout) -> bool:
    """Already on its way: an abort of a way back would bring the bad release again."""
    phase = Phase(found.phase)
    return phase not in FINAL and (phase in GOING_BACK or found.is_rollback)


def goal_of(way: Rollout) -> str:
    """A new rollout brings the old release; an open one returns to it."""
    target = way.to_release if way.is_rollback else way.from_release
    return str(target) if target else "nothing: nothing served before"
