"""Rollouts from a terminal, for the day when the web tier, Redis or the workers are down.

manage.py rollout list
manage.py rollout show 12
manage.py rollout pause|resume|abort|rollback 12 --why "..." --by olga@example.org [--drive]
manage.py rollout drive 12       makes passes here until the rollout has ended
manage.py rollout plan 12        prints what kubectl would have to do to go back
"""

import time
from argparse import ArgumentParser
from collections.abc import Callable
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from fleet.actions import rollouts as actions
from fleet.drive.rollout import drive
from fleet.queries.rollouts import RolloutDetail, get_rollout, list_rollouts
from tenants.base.scope import fleet_scope
from tenants.errors import ConsoleError
from tenants.rules.access import Viewer, system_viewer

Act = Callable[..., Any]
WISHES: dict[str, Act] = {
    "pause": actions.pause_rollout,
    "resume": actions.resume_rollout,
    "abort": actions.abort_rollout,
    "rollback": actions.roll_back,
}
VERBS = ("list", "show", *WISHES, "drive", "plan")


class Command(BaseCommand):
    help = "Look at rollouts and steer them without web and Redis"

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("verb", choices=VERBS)
        parser.add_argument("rollout", nargs="?", type=int)
        parser.add_argument("--why", default="")
        parser.add_argument("--by", default="", help="who asks, for the audit")
        parser.add_argument("--drive", action="store_true", help="make the passes here")

    def handle(self, *args: Any, **options: Any) -> None:
        verb, found = options["verb"], options["rollout"]
        viewer = system_viewer(options["by"] or "command line")
        if verb != "list" and found is None:
            raise CommandError("Give the number of the rollout")
        try:
            if verb == "list":
                return self.list(viewer)
            if verb in WISHES:
                with fleet_scope():
                    found = WISHES[verb](viewer, found, why=options["why"]).pk
                self.stdout.write(f"Asked: {verb} of RO-{found}")
            if verb == "drive" or options["drive"]:
                self.drive(viewer, found)
            with fleet_scope():
                detail = get_rollout(viewer, found)
        except ConsoleError as error:
            raise CommandError(error.message) from error
        return self.plan(detail) if verb == "plan" else self.show(detail)

    def list(self, viewer: Viewer) -> None:
        with fleet_scope():
            rows = list_rollouts(viewer)
        for r in rows:
            way = f"{r.from_label or '-'} -> {r.to_label}"
            self.stdout.write(f"{r.id:>5} {r.service:<24} {way:<14} {r.phase:<18} {r.why}")

    def drive(self, viewer: Viewer, rollout_id: int) -> None:
        """Pass after pass until the end; a worker that has the row is waited for."""
        said = ""
        while True:
            again = drive(rollout_id)
            with fleet_scope():
                row = get_rollout(viewer, rollout_id).rollout
            if row.why != said:
                said = row.why
                self.stdout.write(f"{row.phase:<18} {row.why}")
            if not row.is_open:
                return
            time.sleep(again.total_seconds() if again is not None else 1)

    def show(self, detail: RolloutDetail) -> None:
        r = detail.rollout
        self.stdout.write(
            f"{r.label} {r.service} {r.from_label or '-'} -> {r.to_label}: {r.phase}, wish {r.wish}"
        )
        self.stdout.write(f"  {r.why}")
        for event in detail.timeline:
            who = event.actor or "machine"
            self.stdout.write(f"  {event.at:%H:%M:%S} {event.phase:<18} {who}: {event.why}")

    def plan(self, detail: RolloutDetail) -> None:
        """The way back as commands, in the order that loses no request."""
        r, old, new = detail.rollout, detail.old, detail.new
        names = {d["metadata"]["labels"]["quartermaster.dev/release"]: d["metadata"] for d in
                 detail.manifests if d["kind"] == "Deployment"}  # fmt: skip
        space = next(iter(names.values()))["namespace"]
        self.stdout.write(f"# {r.label}: back to {r.from_label or 'nothing'}")
        if old:
            wanted = detail.numbers["old_replicas"]
            self.stdout.write(
                f"kubectl -n {space} scale deployment -l"
                f" quartermaster.dev/release={old.fingerprint} --replicas={wanted}"
            )
            self.stdout.write(
                f"kubectl -n {space} wait pod -l quartermaster.dev/release={old.fingerprint}"
                " --for=condition=Ready --timeout=30m"
            )
        self.stdout.write(
            f"kubectl -n {space} delete deployment -l quartermaster.dev/release={new.fingerprint}"
        )
