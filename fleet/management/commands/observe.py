"""`manage.py observe`: look at all clusters and engines, hear gateways, until told to stop."""

import gc
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

import structlog
from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser
from django.db import connection
from django.utils import timezone

from fleet.clients.bells import GatewayBells
from fleet.clients.signals import Engines
from fleet.drive.observation import Observer
from fleet.drive.scaling import answer
from fleet.drive.signals import probe, scrape
from fleet.drive.watching import Bells, Watches
from tenants.base.rows import database_now

log = structlog.get_logger(__name__)
LOOK = 0.2  # seconds between looks for clusters that are due; a bell is heard at once
SOONEST = 0.05  # many bells in a row are one
WATCH = 1.0  # between looks for watches that have ended
SCRAPE = 5.0
BELLS = 0.2
HEAR = 1.0  # so long a round listens
PROBE = 5.0  # looks for engines that are due; each is asked every 30 s

Rounds = dict[str, tuple[float, Callable[[], object]]]


class Command(BaseCommand):
    help = (
        "Observe clusters (every 3 s, pods at once), metrics (5 s), probe engines (30 s), and wake"
        " services that gateways ring for"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--once", action="store_true", help="one round of each, then end")

    def handle(self, *args: Any, **options: Any) -> None:
        collect_seldom()
        observer, engines = Observer(), Engines()
        rung = GatewayBells(settings.REDIS_URL)
        with ThreadPoolExecutor(8, "cluster") as clusters, ThreadPoolExecutor(8, "engine") as asked:
            bells = Bells()
            passes = Passes(observer, clusters, bells)
            rounds: Rounds = {
                "clusters": (SOONEST, passes.start),
                "bells": (BELLS, lambda: answer(rung.heard(HEAR))),
                "metrics": (SCRAPE, lambda: scrape(engines, asked, timezone.now())),
                "probes": (PROBE, lambda: probe(engines, asked, timezone.now(), timezone.now)),
            }
            if options["once"]:
                for _, work in rounds.values():
                    work()
                    passes.finish()
            else:
                heard = (SOONEST, passes.next)
                run(rounds | {"clusters": heard, "watches": (WATCH, Watches(bells).keep)})


def collect_seldom() -> None:
    """A look makes 100,000 objects without a cycle and drops them: walking them finds nothing.

    What is loaded by now stays for good and is not walked either. A fifth of a look's CPU time.
    """
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


class Passes:
    """Passes over clusters beside each other: one that hangs keeps no other waiting."""

    def __init__(self, observer: Observer, pool: ThreadPoolExecutor, bells: Bells) -> None:
        self.observer, self.pool, self.bells = observer, pool, bells
        self.running: dict[int, Future[bool]] = {}

    def next(self) -> None:
        """When a bell rings, a pass has ended or some time has passed."""
        self.bells.wait(LOOK)
        self.start()

    def start(self) -> None:
        """Start what is due. Raise what an earlier pass raised, for the supervisor to tell."""
        ended = {pk: future for pk, future in self.running.items() if future.done()}
        for cluster_id in ended:
            del self.running[cluster_id]
        for cluster_id in self.observer.due(database_now()):
            if cluster_id not in self.running:
                self._begin(cluster_id, self._pass, self.bells.take(cluster_id))
        for cluster_id in self.bells.clusters():
            if cluster_id not in self.running:
                services = self.bells.take(cluster_id)
                self._begin(cluster_id, self._glance, services)
        for future in ended.values():
            future.result()

    def _begin(self, cluster_id: int, work: Callable[..., bool], *about: set[str]) -> None:
        self.running[cluster_id] = future = self.pool.submit(work, cluster_id, *about)
        future.add_done_callback(self._ended)

    def _ended(self, future: Future[bool]) -> None:
        """What rang meanwhile is looked at now; after a failure not before its time."""
        if not future.exception() and future.result():
            self.bells.heard.set()

    def finish(self) -> None:
        for future in self.running.values():
            future.result()

    def _pass(self, cluster_id: int, services: set[str]) -> bool:
        """What rang comes first: gateways wait for it, and a whole look takes longer."""
        try:
            if services:
                self.observer.glance(cluster_id, services, database_now())
            rung = partial(self.bells.take, cluster_id)
            return self.observer.observe(cluster_id, database_now(), rung)
        finally:
            connection.close()

    def _glance(self, cluster_id: int, services: set[str]) -> bool:
        try:
            done = self.observer.glance(cluster_id, services, database_now())
            if not done:
                self.bells.keep(cluster_id, services)
            return done
        finally:
            connection.close()


def run(rounds: Rounds) -> None:
    """Run the rounds beside each other until a signal says stop."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    threads = [
        threading.Thread(target=repeat, args=(name, seconds, work, stop), name=name)
        for name, (seconds, work) in rounds.items()
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def repeat(name: str, seconds: float, work: Callable[[], object], stop: threading.Event) -> None:
    """The supervisor loop: a round that raised is told and tried again, never the end.

    One connection to the database for all rounds, a new one after a fault.
    """
    while not stop.is_set():
        try:
            work()
        except Exception:  # noqa: BLE001  # the one loop that must outlive every fault
            log.exception("round failed", round=name)
            connection.close()
        stop.wait(seconds)
    connection.close()
