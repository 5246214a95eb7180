"""Observations end: fine slots after hours, samples after days, dashboards after months."""

from datetime import datetime, timedelta
from typing import Any

from django.db.models import Q, QuerySet

from fleet.models import (
    AdapterLatencySlot,
    AdapterSlot,
    AdapterUse,
    ApplicationLatencySlot,
    ApplicationSlot,
    EngineProbe,
    EngineSample,
    LatencySlot,
    ObservedEvent,
    ScalingDecision,
    ShadowLatencySlot,
    ShadowSlot,
    TrafficSlot,
)
from fleet.rules.traffic import DASHBOARD_SECONDS, GATE_SECONDS
from tenants.base.scope import fleet_scope

FINE = timedelta(hours=8)
SAMPLES = timedelta(days=2)
EVENTS = timedelta(days=7)
LOOKS = timedelta(days=2)  # at load that changed nothing
SCALINGS = timedelta(days=90)
DASHBOARDS = timedelta(days=120)


def trim(now: datetime) -> dict[str, int]:
    """Delete what nobody reads any more. Answers rows by table."""
    with fleet_scope():
        old = {
            "fine_traffic": TrafficSlot.objects.filter(seconds=GATE_SECONDS, slot__lt=now - FINE),
            "fine_latency": LatencySlot.objects.filter(seconds=GATE_SECONDS, slot__lt=now - FINE),
            "traffic": TrafficSlot.objects.filter(
                seconds=DASHBOARD_SECONDS, slot__lt=now - DASHBOARDS
            ),
            "latency": LatencySlot.objects.filter(
                seconds=DASHBOARD_SECONDS, slot__lt=now - DASHBOARDS
            ),
            **apart(now),
            "adapters": AdapterUse.objects.filter(day__lt=(now - DASHBOARDS).date()),
            "samples": EngineSample.objects.filter(at__lt=now - SAMPLES),
            "probes": EngineProbe.objects.filter(at__lt=now - SAMPLES),
            "events": ObservedEvent.objects.filter(at__lt=now - EVENTS),
            "looks": ScalingDecision.objects.filter(changed=False, at__lt=now - LOOKS),
            "scalings": ScalingDecision.objects.filter(at__lt=now - SCALINGS),
        }
        return {name: rows.delete()[0] for name, rows in old.items()}


def apart(now: datetime) -> dict[str, QuerySet[Any]]:
    """Slots of copies, of requests for adapters and of applications: read by gates, and by who
    compares tokens with the engines' counters.
    """
    fine = Q(seconds=GATE_SECONDS, slot__lt=now - FINE)
    coarse = Q(seconds=DASHBOARD_SECONDS, slot__lt=now - DASHBOARDS)
    return {
        "shadow_traffic": ShadowSlot.objects.filter(fine | coarse),
        "shadow_latency": ShadowLatencySlot.objects.filter(fine | coarse),
        "adapter_traffic": AdapterSlot.objects.filter(fine | coarse),
        "adapter_latency": AdapterLatencySlot.objects.filter(fine | coarse),
        "application_traffic": ApplicationSlot.objects.filter(fine),
        "application_latency": ApplicationLatencySlot.objects.filter(fine),
    }
