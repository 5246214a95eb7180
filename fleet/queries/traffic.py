"""Traffic statistics, read. Slots are cut, so a window is as sharp as its resolution."""

from datetime import datetime

from django.db.models import Q, Sum

from fleet.models import LatencySlot, TrafficSlot
from fleet.rules.histogram import Histogram
from fleet.rules.traffic import GATE_SECONDS, METRICS, REFUSED, ReleaseWindow
from tenants.base.scope import fleet_scope


def window(service_id: int, release_id: int, start: datetime, end: datetime) -> ReleaseWindow:
    """What a release answered in the 10 s slots that begin in [start, end), of all tenants."""
    place = {
        "seconds": GATE_SECONDS,
        "service_id": service_id,
        "release_id": release_id,
        "slot__gte": start,
        "slot__lt": end,
    }
    with fleet_scope():
        counted = list(
            TrafficSlot.objects.filter(**place)
            .values("outcome")
            .annotate(
                n=Sum("requests"),
                prompt=Sum("prompt_tokens"),
                cached=Sum("cached_tokens"),
                completion=Sum("completion_tokens"),
                refused=Sum("requests", filter=Q(reason__in=REFUSED), default=0),
            )
            .order_by("outcome")
        )
        timed = list(
            LatencySlot.objects.filter(**place)
            .values_list("metric", "bucket")
            .annotate(n=Sum("samples"))
            .order_by("metric", "bucket")
        )
    histograms: dict[str, dict[int, int]] = {metric: {} for metric in METRICS}
    for metric, bucket, samples in timed:
        if metric in histograms:
            histograms[metric][bucket] = samples
    return ReleaseWindow(
        outcomes={row["outcome"]: row["n"] for row in counted},
        refused=sum(row["refused"] for row in counted),
        prompt_tokens=sum(row["prompt"] for row in counted),
        cached_tokens=sum(row["cached"] for row in counted),
        completion_tokens=sum(row["completion"] for row in counted),
        **{metric: Histogram(counts) for metric, counts in histograms.items()},
    )
