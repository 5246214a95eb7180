"""People from a terminal: manage.py person invite olga@example.com --role operator.

For the first ones, whom nobody in the console can invite: an operator, and an approver who is
somebody else. Prints the password, which is shown once and changed at the first sign-in.
"""

from argparse import ArgumentParser
from dataclasses import replace
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from tenants.actions.people import ROLES, invite_person
from tenants.base.scope import fleet_scope
from tenants.errors import ConsoleError
from tenants.rules.access import Permission, system_viewer

WHY = "invited from a terminal"


class Command(BaseCommand):
    help = __doc__

    def add_arguments(self, parser: ArgumentParser) -> None:
        what = parser.add_subparsers(dest="what", required=True)
        invite = what.add_parser("invite", help="create somebody with one role")
        invite.add_argument("email")
        invite.add_argument("--role", required=True, help=f"one of {', '.join(ROLES)}")
        invite.add_argument("--name", default="", help="as people call the person")
        invite.add_argument("--tenant", default="", help="its slug; without it, the whole fleet")
        invite.add_argument("--why", default=WHY, help="kept in Evidence")

    def handle(self, *_: object, **options: Any) -> None:
        viewer = system_viewer("terminal", [Permission.MANAGE_PEOPLE, Permission.VIEW])
        viewer = replace(viewer, via="command")
        try:
            with fleet_scope():
                user, password = invite_person(
                    viewer,
                    email=options["email"],
                    name=options["name"],
                    role=options["role"],
                    tenant=options["tenant"],
                    why=options["why"],
                )
        except ConsoleError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"{user.email} {password}")
        self.stderr.write("The password is shown once, and changed at the first sign-in.")
