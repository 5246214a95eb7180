"""What a pass reaches beyond the database, in one place, so that tests bring their own."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from fleet.clients import contract, engine
from fleet.clients.workloads import Workloads, open_workloads
from fleet.models import Cluster
from fleet.queries.clusters import access_of
from fleet.rules.contract.answers import Said
from fleet.rules.contract.prompts import Prompt
from fleet.rules.verify import Answers
from tenants.base.rows import database_now

OPENED: dict[int, tuple[tuple[bytes, bool, str], Workloads]] = {}  # by cluster, of this process


@dataclass(frozen=True, slots=True)
class Outside:
    connect: Callable[[Cluster], Workloads]
    ask: Callable[[str, str], Answers]  # host:port, served model name
    clock: Callable[[], datetime] = database_now
    put: Callable[[str, str, Prompt], Said] = contract.put  # host:port, service, recorded prompt
    ask_pair: Callable[[str, str, str], Answers] = engine.ask_pair  # of prefill, of decode, service


def connect(cluster: Cluster) -> Workloads:
    """One a process and cluster: a handshake costs both sides as much as what a pass asks.

    A new one when the credential was changed. What breaks is opened again by the next request.
    """
    key = (bytes(cluster.credential), cluster.in_cluster, cluster.namespace)
    known = OPENED.get(cluster.pk)
    if known is None or known[0] != key:
        known = key, open_workloads(access_of(cluster), cluster.namespace)
        OPENED[cluster.pk] = known
    return known[1]


REAL = Outside(connect=connect, ask=engine.ask)
