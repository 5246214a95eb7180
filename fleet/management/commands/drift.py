"""What runs otherwise than declared, from a terminal.

manage.py drift list [SERVICE]
manage.py drift repair 12 --as olga@example.org --why "..."      Deployment 12, and all beside it
manage.py drift adopt 12 --replicas 3 --as olga@example.org --why "..."
manage.py drift adopt-content 12 --edit 0123456789abcdef --as olga@example.org --why "..."
    makes a release of it; manage.py rollout propose is next

The workers do what was chosen.
"""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from fleet.actions import drift as actions
from fleet.actions.adoption import adopt_content
from fleet.management.commands.rollout import viewer_of
from fleet.queries.drift import list_drift
from tenants.base.scope import scope_of
from tenants.errors import ConsoleError
from tenants.rules.access import Viewer


class Command(BaseCommand):
    help = "Look at drift, and choose what becomes of it"

    def add_arguments(self, parser: ArgumentParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        verbs.add_parser("list").add_argument("service", nargs="?", default="", help="its name")
        for verb in ("repair", "adopt", "adopt-content"):
            choice = verbs.add_parser(verb)
            choice.add_argument("deployment", type=int, help="its number in the list")
            choice.add_argument("--as", required=True, metavar="EMAIL", help="who chooses")
            choice.add_argument("--why", required=True)
            if verb == "adopt":
                choice.add_argument("--replicas", type=int, required=True, help="as they run now")
            if verb == "adopt-content":
                choice.add_argument("--edit", required=True, help="as the list names it")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            viewer = viewer_of(options)
            with scope_of(viewer):
                getattr(self, f"do_{options['verb'].replace('-', '_')}")(viewer, options)
        except ConsoleError as error:
            raise CommandError(error.message) from error

    def do_list(self, viewer: Viewer, options: dict[str, Any]) -> None:
        wanted = options["service"]
        for d in list_drift(viewer):
            if wanted in ("", d.service):
                state = f"adopted as {d.adopted_as}" if d.adopted_as else d.wish or "open"
                self.stdout.write(f"{d.deployment_id:>5} {d.edit} {state:<10} {d.sentence}")

    def do_repair(self, viewer: Viewer, options: dict[str, Any]) -> None:
        row = actions.repair(viewer, options["deployment"], why=options["why"])
        self.stdout.write(f"{row}: the declared state is applied again")

    def do_adopt(self, viewer: Viewer, options: dict[str, Any]) -> None:
        replicas, why = options["replicas"], options["why"]
        row = actions.adopt(viewer, options["deployment"], replicas=replicas, why=why)
        self.stdout.write(f"{row}: {replicas} replicas are declared")

    def do_adopt_content(self, viewer: Viewer, options: dict[str, Any]) -> None:
        edit, why = options["edit"], options["why"]
        release = adopt_content(viewer, options["deployment"], edit=edit, why=why)
        self.stdout.write(
            f"{release} ({release.fingerprint}) declares it: manage.py rollout propose"
            f" {release.service.name} {release.number}"
        )
