"""What is kept of probes and starts, whoever made them."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from fleet.models import (
    Cluster,
    EngineProbe,
    Node,
    ObservedEvent,
    Release,
    Service,
    StartSample,
)
from fleet.queries.starts import ground_of, starts_like
from fleet.rules.contract.answers import Sample
from fleet.rules.phases import Verdict
from fleet.rules.seen import Pod, Side
from fleet.rules.starts import cache_of
from fleet.rules.verify import Answers, Probe


def store_starts(
    service: Service, cluster: Cluster, release: Release, pods: Sequence[Pod], now: datetime
) -> None:
    """How long each admitted replica took: plans and deadlines learn from it. Where the cluster's
    clock is so far ahead that it ended before it began, nobody knows.
    """
    pods = [pod for pod in pods if pod.created_at < now]
    if not pods:
        return
    nodes = Node.objects.filter(cluster=cluster).exclude(gpu_product="")
    products = dict(nodes.values_list("name", "gpu_product"))
    ground = ground_of(cluster, starts_like([release]))
    pulls = pulls_of(cluster, [pod.name for pod in pods])
    for pod in pods:
        seconds = (now - pod.created_at).total_seconds()
        fields = {
            "service": service,
            "release": release,
            "cluster": cluster,
            "gpu_product": products.get(pod.node, ""),
            "node": pod.node,
            "node_pool": ground.pools.get(pod.node, ""),
            "cache": cache_of(pulls[pod.name], known=ground.has(pod.node, release)),
            "seconds": seconds,
        }
        StartSample.objects.get_or_create(pod_uid=pod.uid, defaults=fields)


def pulls_of(cluster: Cluster, names: Sequence[str]) -> Mapping[str, list[str]]:
    """What kubelets said of the pulls of these pods, as far as it was observed."""
    found: dict[str, list[str]] = defaultdict(list)
    rows = ObservedEvent.objects.filter(cluster=cluster, name__in=names, kind="Pod")
    for name, message in rows.filter(reason="Pulled").values_list("name", "message"):
        found[name].append(message)
    return found


def store_prompts(service: Service, side: Side, samples: Iterable[Sample], now: datetime) -> None:
    """Their tokens are in the engines' counters and on nobody's bill, as those of probes."""
    uids = {p.name: p.uid for p in side.pods}
    EngineProbe.objects.bulk_create(
        EngineProbe(
            pod_uid=uids[s.pod],
            service=service,
            at=now,
            passed=s.verdict == Verdict.PASS,
            milliseconds=s.milliseconds,
            prompt_tokens=s.prompt_tokens,
            completion_tokens=s.completion_tokens,
            told=f"{s.name}: {s.why}"[:200],
        )
        for s in samples
    )


def store_probes(
    service: Service, probes: Mapping[str, Probe], answers: Mapping[str, Answers], now: datetime
) -> None:
    """Tokens of probes are in the engines' counters: without these rows sums would not agree."""
    EngineProbe.objects.bulk_create(
        EngineProbe(
            pod_uid=uid,
            service=service,
            at=now,
            passed=probes[uid].ok,
            milliseconds=found.milliseconds,
            prompt_tokens=found.prompt_tokens,
            completion_tokens=sum(found.tokens),
            told=probes[uid].text[:200],
        )
        for uid, found in answers.items()
        if uid in probes
    )
