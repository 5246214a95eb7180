"""Django's `migrate`; with --progress it says after each migration how far it is.

As JSON lines {"percent", "text"}, beside what it prints anyway.
"""

import json
from functools import cached_property
from typing import Any

from django.core.management.base import CommandParser
from django.core.management.commands import migrate
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.migration import Migration


class Command(migrate.Command):
    progress = False
    done = 0

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--progress", action="store_true", help="as JSON lines")

    def handle(self, *args: Any, **options: Any) -> None:
        self.progress = options.pop("progress")
        super().handle(*args, **options)

    def migration_progress_callback(
        self, action: str, migration: Migration | None = None, fake: bool = False
    ) -> None:
        super().migration_progress_callback(action, migration, fake)
        if self.progress and action == "apply_success":
            self.done += 1
            percent = round(100 * self.done / self.all, 1)
            text = f"{self.done} of {self.all} migrations"
            self.stdout.write(json.dumps({"percent": percent, "text": text}))

    @cached_property
    def all(self) -> int:
        """This run's migrations: those that it applied before this was asked, and those to come."""
        executor = MigrationExecutor(connection)
        return self.done + len(executor.migration_plan(executor.loader.graph.leaf_nodes()))
