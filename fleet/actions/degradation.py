"""Findings: opened when somebody misses an objective, told anew while it lasts, closed after."""

from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from django.db import connection
from django.db.models import Min

from fleet.models import Finding, LatencySlot, Service, TrafficSlot
from fleet.queries.degradation_facts import WINDOW, gather
from fleet.rules.degradation.causes import Suspect, rank, sentence
from fleet.rules.degradation.facts import Facts
from fleet.rules.degradation.symptoms import OUTCOMES, Miss, Symptom, find_misses
from fleet.rules.histogram import bucket_of
from fleet.rules.traffic import GATE_SECONDS
from tenants.base.scope import fleet_scope

LOCK = 7_010_003  # one look at a time
OVER_AFTER = timedelta(seconds=90)  # without the symptom; a look every 30 s

Key = tuple[int, int, str, str]  # tenant, service, class, symptom


def find(now: datetime) -> int:
    """Bring findings to what the slots say. Answers how many are open."""
    with fleet_scope():
        if not _alone():
            return 0
        open_rows = {_key(f): f for f in Finding.objects.filter(ended_at=None)}
        ids = dict(Service.objects.values_list("name", "id"))
        seen: set[Key] = set()
        for facts in gather(now):
            for miss in find_misses(facts):
                key = (facts.tenant_id, ids[facts.service], facts.traffic_class, miss.symptom.value)
                seen.add(key)
                _tell(open_rows.get(key), key, facts, miss)
        over = [f for key, f in open_rows.items() if key not in seen]
        _close(f for f in over if f.seen_at <= now - OVER_AFTER)
        return len(seen)


def _alone() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [LOCK])
        return bool(cursor.fetchone()[0])


def _key(finding: Finding) -> Key:
    return (finding.tenant_id, finding.service_id, finding.traffic_class, finding.symptom)


def _tell(known: Finding | None, key: Key, facts: Facts, miss: Miss) -> None:
    suspects = rank(facts, miss)
    finding = known or Finding(
        tenant_id=key[0],
        service_id=key[1],
        traffic_class=key[2],
        symptom=key[3],
        started_at=began(key, facts, miss),
    )
    finding.seen_at = facts.at
    finding.cause = suspects[0].cause.value
    finding.sentence = sentence(facts, miss, suspects[0])
    finding.evidence = [_plain(s) for s in suspects]
    finding.requests = miss.requests
    finding.affected = miss.affected
    finding.save()


def _plain(suspect: Suspect) -> dict[str, Any]:
    return {
        "cause": suspect.cause.value,
        "score": round(suspect.score, 2),
        "because": suspect.because,
        "evidence": [asdict(e) for e in suspect.evidence],
    }


def began(key: Key, facts: Facts, miss: Miss) -> datetime:
    """The first slot of the window that shows the symptom."""
    place = {
        "seconds": GATE_SECONDS,
        "tenant_id": key[0],
        "service_id": key[1],
        "traffic_class": key[2],
        "slot__gte": facts.at - WINDOW,
    }
    if outcomes := OUTCOMES.get(miss.symptom):
        first = TrafficSlot.objects.filter(**place, outcome__in=outcomes)
        found = first.aggregate(at=Min("slot"))["at"]
    else:
        metric = "ttft" if miss.symptom is Symptom.TTFT else "itl"
        late = bucket_of(miss.limit or 0.0)
        slow = LatencySlot.objects.filter(**place, metric=metric, bucket__gt=late)
        found = slow.aggregate(at=Min("slot"))["at"]
    return found or facts.at


def _close(findings: Iterable[Finding]) -> None:
    for finding in findings:
        finding.ended_at = finding.seen_at
        finding.save(update_fields=["ended_at"])
