"""Watches of our pods: a bell for the observer, so that a change need not wait for the next look.

Lists stay the truth. A watch that breaks, hangs or misses something costs the seconds until the
next look of the whole cluster, nothing else; so it keeps no state and starts again from anywhere.
"""

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

import structlog
from django.db import connection

from fleet.clients.errors import ClientError
from fleet.clients.kube import Access, connect
from fleet.models import Cluster
from fleet.queries.clusters import access_of
from fleet.rules.manifests import SERVICE

log = structlog.get_logger(__name__)


class Watched(Protocol):
    def watch_pods(self, namespace: str, label: str) -> Iterator[str]: ...
    def close(self) -> None: ...


class Bells:
    """Services of which pods changed, by cluster, until somebody looks at them."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.rung: dict[int, set[str]] = defaultdict(set)
        self.heard = threading.Event()

    def wait(self, seconds: float) -> None:
        """Until there may be something to look at, at most so long."""
        self.heard.wait(seconds)
        self.heard.clear()

    def ring(self, cluster_id: int, services: Iterable[str]) -> None:
        self.keep(cluster_id, services)
        self.heard.set()

    def keep(self, cluster_id: int, services: Iterable[str]) -> None:
        """For later: nobody can look at them just now."""
        with self.lock:
            self.rung[cluster_id] |= set(services)

    def take(self, cluster_id: int) -> set[str]:
        with self.lock:
            return self.rung.pop(cluster_id, set())

    def clusters(self) -> list[int]:
        with self.lock:
            return list(self.rung)


class Watches:
    """One thread a cluster, each with a connection of its own."""

    def __init__(self, bells: Bells, connector: Callable[[Access], Watched] = connect) -> None:
        self.bells, self.connector = bells, connector
        self.threads: dict[int, threading.Thread] = {}

    def keep(self) -> None:
        """Every cluster has a watch. One that ended, by its own time or a fault, begins again."""
        rows = {row.pk: row for row in Cluster.objects.filter(removed_at=None)}
        for pk in self.threads.keys() - rows.keys():
            del self.threads[pk]  # it ends with its time
        for pk, row in rows.items():
            known = self.threads.get(pk)
            if known is None or not known.is_alive():
                made = threading.Thread(target=self.watch, args=(row,), name=f"watch-{row.slug}")
                made.daemon = True  # it waits for the network, and must not hold the process up
                made.start()
                self.threads[pk] = made

    def watch(self, cluster: Cluster) -> None:
        """Ring for each change until the watch ends."""
        try:
            kube = self.connector(access_of(cluster))
            try:
                for service in kube.watch_pods(cluster.namespace, SERVICE):
                    self.bells.ring(cluster.pk, [service])
            finally:
                kube.close()
        except ClientError as error:
            log.info("watch ended", cluster=cluster.slug, why=error.message)
        finally:
            connection.close()
