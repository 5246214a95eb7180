"""Degradation: all tenants with those that hurt first, and one tenant over time with causes."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_GET

from console.access import ViewerRequest
from console.addresses import address
from console.charts import OUTCOMES, Chart, Marker, Series, line_chart, outcome_chart, outcome_name
from console.downloads import download, wants_file
from console.ranges import TimeRange, read_range
from console.views.tenants import frame
from fleet.queries import degradation as queries
from fleet.queries.degradation import Degradation, EvidenceRow, MarkerRow, PartRow, Wanted
from gateway.contract.outcomes import TrafficClass
from tenants.errors import NotFound
from tenants.queries.tenants import require_some_view
from tenants.rules.access import Permission, Viewer

COLUMNS = (
    "time", *OUTCOMES, "ttft_p50_ms", "ttft_p95_ms", "itl_p50_ms", "itl_p95_ms", "queue_p95_ms",
    "waking_p95_ms",
    "waiting", "kv_usage",
)  # fmt: skip
LIST_COLUMNS = ("tenant", "requests", "answered", *OUTCOMES, "findings", "sentence")
SYMPTOMS = {
    "errors": "requests fail", "shed": "requests are shed", "rejected": "requests are rejected",
    "ttft": "the first token is late", "itl": "tokens come slowly",
    "cancelled": "clients leave",
}  # fmt: skip
MARKED = 6  # more markers than this hide the chart that they explain


@require_GET
def index(request: ViewerRequest) -> HttpResponse:
    """Filters: `q` (part of a tenant's name), `show` (hurt: with an open finding)."""
    require_some_view(request.viewer)
    now = timezone.now()
    span = read_range(request.GET, now)
    rows = queries.list_degradation(request.viewer, span.start, span.end, now=now)
    text, show = request.GET.get("q", "").strip().lower(), request.GET.get("show", "")
    shown = [r for r in rows if text in r.slug and (r.findings or show != "hurt")]
    if wants_file(request):
        return download(request, "degradation", LIST_COLUMNS, (list_line(r) for r in shown))
    context = {
        "page": Paginator(shown, 50).get_page(request.GET.get("page")),
        "all": len(rows),
        "hurt": sum(bool(r.findings) for r in rows),
        "text": text,
        "show": show,
        "range": span,
        "symptoms": SYMPTOMS,
    }
    return render(request, "degradation/index.html", context)


def list_line(row: queries.TenantRow) -> tuple[Any, ...]:
    counts = (row.outcomes.get(o, 0) for o in OUTCOMES)
    told = " ".join(f.sentence for f in row.findings)
    return (row.slug, row.requests, row.answered, *counts, len(row.findings), told)


@require_GET
def of_tenant(request: ViewerRequest, slug: str) -> HttpResponse:
    """Filters: `service`, `class`. The range is that of the page."""
    context = frame(request, slug, "degradation")
    now = timezone.now()
    span = read_range(request.GET, now)
    wanted = Wanted(request.GET.get("service", ""), read_class(request))
    found = queries.get_degradation(
        request.viewer, context["tenant"].pk, span.start, span.end, wanted=wanted, now=now
    )
    if wants_file(request):
        return download(request, f"degradation-{slug}", COLUMNS, series_lines(found))
    opened = [f for f in found.findings if f.is_open]
    first = found.findings[0] if found.findings else None
    context |= {
        "found": found,
        "wanted": wanted,
        "range": span,
        "charts": charts(found),
        "outcomes": outcome_rows(found, slug, wanted, span),
        "findings": found.findings,
        "open": opened,
        "first": first,
        "causes": causes(request.viewer, slug, first),
        "changes": changes(request.viewer, slug, found.markers),
        "others": found.findings[1:],
        "parts": [part_row(p) for p in found.parts],
        "symptoms": SYMPTOMS,
        "since": min((f.started_at for f in opened), default=None),
    }
    return render(request, "degradation/tenant.html", context)


def read_class(request: ViewerRequest) -> str:
    given = request.GET.get("class", "")
    if given and given not in {c.value for c in TrafficClass}:
        raise NotFound(f"There is no traffic class '{given[:40]}'")
    return given


def charts(found: Degradation) -> dict[str, Chart]:
    """Only the large chart has room for the markers' names; the others show where they are."""
    named = named_markers(found)
    common: dict[str, Any] = {
        "until": found.data_until,
        "markers": [Marker(m.at, "") for m in named],
    }
    drawn = {
        "outcomes": outcome_chart(
            "outcomes", f"Requests {every(found.step_seconds)} by outcome", found.moments,
            found.outcomes, until=found.data_until, markers=named,
        ),
        "ttft": latency_chart("ttft", "Time to first token", found.ttft, found, common),
        "itl": latency_chart("itl", "Inter-token latency", found.itl, found, common),
        "queue": line_chart(
            "queue", "Wait in the gateway, p95", found.moments,
            waits(found),
            unit="ms", digits=0, **common,
        ),
    }  # fmt: skip
    return drawn | engine_charts(found, common)


def waits(found: Degradation) -> list[Series]:
    queue = Series("wait p95", [p.p95 for p in found.queue], "c1", "solid", fill=True)
    waking = [p.p95 for p in found.waking]
    if all(p95 is None for p95 in waking):
        return [queue]
    return [queue, Series("for a service that slept, p95", waking, "c2", "dash")]


def named_markers(found: Degradation) -> list[Marker]:
    """Names of changes close together would lie upon each other: one stands for all of them."""
    apart = timedelta(seconds=found.step_seconds * len(found.moments) / (2 * MARKED))
    groups: list[list[MarkerRow]] = []
    for marker in found.markers:
        if groups and marker.at - groups[-1][0].at < apart:
            groups[-1].append(marker)
        else:
            groups.append([marker])
    return [
        Marker(g[0].at, g[0].short if len(g) == 1 else f"{g[0].short} +{len(g) - 1}")
        for g in groups[-MARKED:]
    ]


def latency_chart(
    key: str, title: str, values: Sequence[Any], found: Degradation, common: dict[str, Any]
) -> Chart:
    series = [
        Series("p50", [p.p50 for p in values], "c1", "dash"),
        Series("p95", [p.p95 for p in values], "c2", "solid"),
    ]
    limit = getattr(found.objective, f"{key}_ms") if found.objective else None
    told = ("objective p95", float(limit)) if limit else None
    return line_chart(key, title, found.moments, series, unit="ms", limit=told, digits=0, **common)


def engine_charts(found: Degradation, common: dict[str, Any]) -> dict[str, Chart]:
    """Of the one service that is shown; engines of several services do not add up."""
    engines = found.engines
    if engines is None or not engines.has_data:
        return {}
    waiting = [
        Series("waiting", engines.waiting, "c2", "solid"),
        Series("running", engines.running, "c1", "dash"),
    ]
    kv = [Series("KV cache", [None if v is None else v * 100 for v in engines.kv_usage], "c3")]
    preempted = Series("preemptions", engines.preemptions, "c4", "dot")
    return {
        "engines": line_chart(
            "engines", "Requests in the engines", found.moments, waiting, digits=1, **common
        ),
        "kv": line_chart(
            "kv", "KV cache of the fullest engine", found.moments, [*kv, preempted],
            unit="% and preemptions", digits=1, **common,
        ),
    }  # fmt: skip


def every(seconds: int) -> str:
    words = {60: "a minute", 300: "per 5 min", 900: "per 15 min", 3600: "an hour"}
    return words.get(seconds) or f"per {seconds // 3600} h"


def outcome_rows(
    found: Degradation, slug: str, wanted: Wanted, span: TimeRange
) -> list[dict[str, Any]]:
    """Each number leads to the requests behind it."""
    base = {"tenant": slug, "traffic_class": wanted.traffic_class, "model": wanted.service}
    rows = []
    for outcome in OUTCOMES:
        given = {k: v for k, v in (base | {"outcome": outcome}).items() if v}
        n = found.totals.get(outcome, 0)
        told = [(r.replace("_", " "), c) for o, r, c in found.reasons if o == outcome][:3]
        url = f"{address('requests')}?{urlencode(given)}&{span.query}"
        share = n / found.requests if found.requests else None
        rows.append(
            {"outcome": outcome, "name": outcome_name(outcome), "requests": n, "share": share,
             "reasons": told, "url": url}
        )  # fmt: skip
    return rows


def causes(viewer: Viewer, slug: str, first: queries.FindingRow | None) -> list[dict[str, Any]]:
    return [
        {
            "because": cause.because[:1].upper() + cause.because[1:],
            "score": cause.score,
            "out": cause.score < 0.3,
            "evidence": [evidence(viewer, slug, e) for e in cause.evidence],
        }
        for cause in (first.causes if first else ())
    ]


def evidence(viewer: Viewer, slug: str, row: EvidenceRow) -> dict[str, str]:
    return {"text": f"{row.label}: {row.value}", "url": link(viewer, slug, row.kind, row.key)}


def link(viewer: Viewer, slug: str, kind: str, key: str) -> str:
    """Where an object is shown; empty where the viewer may not go."""
    if kind == "quota":
        return address("tenant_quotas", slug)
    if not viewer.may(Permission.VIEW_FLEET):
        return ""
    if kind == "service" and key:
        return address("service", key)
    if kind == "rollout" and key:
        return address("rollout", int(key))
    if kind == "tenant" and key:
        return address("tenant_degradation", key)
    return ""


def changes(viewer: Viewer, slug: str, markers: Sequence[MarkerRow]) -> list[dict[str, Any]]:
    return [
        {"at": m.at, "told": m.told, "by": m.by, "url": link(viewer, slug, m.kind, m.key)}
        for m in reversed(markers)
    ]


def part_row(part: PartRow) -> dict[str, Any]:
    lost = part.requests - part.answered
    return {
        "part": part,
        "query": urlencode({"service": part.service, "class": part.traffic_class}),
        "lost": lost,
        "share": lost / part.requests if part.requests else None,
    }


def series_lines(found: Degradation) -> list[tuple[Any, ...]]:
    engines = found.engines
    return [
        (
            at,
            *(found.outcomes[o][i] if o in found.outcomes else 0 for o in OUTCOMES),
            found.ttft[i].p50, found.ttft[i].p95, found.itl[i].p50, found.itl[i].p95,
            found.queue[i].p95, found.waking[i].p95,
            engines.waiting[i] if engines else None, engines.kv_usage[i] if engines else None,
        )
        for i, at in enumerate(found.moments)
    ]  # fmt: skip
