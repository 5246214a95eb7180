"""The demo: manage.py demo --prepare | --deploy | --history, each of which may be repeated.

Prints JSON lines {"percent", "text"}, and {"error"} when it fails.
"""

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from console.demo import credentials
from console.demo.history import Progress, load
from console.demo.people import prepare
from console.demo.placement import place_large_too, place_services, register_cluster
from console.demo.rhythm import DAYS
from console.demo.rollouts import bring_up
from tenants.errors import ConsoleError

SANDBOX = {"slug": "sandbox", "name": "This machine", "region": "local-1"}
SECOND = {"slug": "sandbox-2", "name": "This machine, second cluster", "region": "local-2"}
GIVEN = {"slug": "given", "name": "From KUBECONFIG", "region": ""}


class Command(BaseCommand):
    help = __doc__

    def add_arguments(self, parser: ArgumentParser) -> None:
        what = parser.add_mutually_exclusive_group(required=True)
        what.add_argument("--prepare", action="store_true", help="people, tenants, keys, prices")
        what.add_argument("--deploy", action="store_true", help="cluster, releases, rollouts")
        what.add_argument("--history", action="store_true", help="usage of the last days")
        parser.add_argument("--replicas", type=int, default=2, help="of the small service")
        parser.add_argument("--days", type=int, default=DAYS, help="of the history")
        parser.add_argument("--url", default="http://127.0.0.1:8000", help="the console's address")
        parser.add_argument("--kubeconfig", type=Path, help="of the cluster to register")
        parser.add_argument("--register-only", action="store_true", help="roll nothing out")
        parser.add_argument("--second", action="store_true", help="the demo's second cluster")
        parser.add_argument("--images", type=Path, help="image table of the sandbox's cluster")
        parser.add_argument("--engine", choices=("vllm", "standin"), default="standin")
        parser.add_argument("--file", type=Path, required=True, help="where credentials are kept")

    def handle(self, *_: Any, **options: Any) -> None:
        path: Path = options["file"]
        try:
            if options["prepare"]:
                self._prepare(path, options["replicas"])
            if options["deploy"]:
                self._deploy(path, options)
            if options["history"]:
                self._history(path, options["url"], options["days"])
        except ConsoleError as refusal:
            self._say(error=refusal.message)
            raise CommandError(refusal.message) from None

    def _prepare(self, path: Path, replicas: int) -> None:
        credentials.write(path, prepare(credentials.read(path), timezone.now(), replicas))
        self._say(percent=100, text="People, tenants and keys are there")

    def _deploy(self, path: Path, options: dict[str, Any]) -> None:
        named = SECOND if options["second"] else SANDBOX
        named = GIVEN if options["register_only"] else named
        made = register_cluster(credentials.read(path), options["kubeconfig"], **named)
        credentials.write(path, made)
        if options["register_only"]:
            self._say(percent=100, text="The cluster is registered")
            return
        place = place_large_too if options["second"] else place_services
        bring_up(
            named["slug"],
            place(named["slug"]),
            options["images"],
            engine=options["engine"],
            progress=lambda percent, text: self._say(percent=round(percent, 1), text=text),
        )
        self._say(percent=100, text="The demo's services answer")

    def _history(self, path: Path, url: str, days: int) -> None:
        """Its progress has a file of its own: cluster and history are worked on at once."""
        beside = path.with_name("history.json")

        def tell(kept: Progress, percent: float, text: str) -> None:
            credentials.write(beside, kept)
            self._say(percent=round(percent, 1), text=text)

        token = credentials.read(path)["history_token"]
        load(token, credentials.read(beside), url.rstrip("/"), timezone.now(), tell, days)

    def _say(self, **values: object) -> None:
        self.stdout.write(json.dumps(values))
        self.stdout.flush()
