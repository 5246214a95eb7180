"""Deliver the demo's past at the public ingest door, as a gateway would."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import msgspec

from billing.actions.confidence import keep_counted
from console.demo.cast import HISTORY_SOURCE, TENANTS
from console.demo.rhythm import DAYS, Caller, days_before, events_of_day
from console.demo.services import MACHINE, service_ids
from gateway.contract.usage import EVENT_TYPE, UsageEvent
from tenants.base.scope import fleet_scope
from tenants.errors import Unavailable
from tenants.queries.keys import list_keys
from tenants.queries.tenants import get_tenant, list_applications

BATCH = 2_000
ATTEMPTS = 8
OLDEST = timedelta(days=61)  # the door takes 62
HOUR = 3_600_000_000  # microseconds
Progress = dict[str, Any]  # end: of the history; days: delivered, counted back from the end
Tell = Callable[[Progress, float, str], None]


def load(token: str, kept: Progress, url: str, now: datetime, tell: Tell, last: int = DAYS) -> None:
    """Load day after day; a run that was cut short goes on with the day that it was at.

    Days delivered twice change nothing: ids are the same again, and the door knows them.
    """
    latest = now.replace(minute=0, second=0, microsecond=0).isoformat()
    end = datetime.fromisoformat(kept.setdefault("end", latest))
    callers, days = list(_callers()), days_before(end)[:last]
    with httpx.Client(timeout=60, headers={"Authorization": f"Bearer {token}"}) as client:
        for number in range(kept.setdefault("days", 0), len(days)):
            if days[number] > now - OLDEST:
                _deliver(client, url, _day(callers, days[number], end))
            kept["days"] = number + 1
            tell(kept, 100 * (number + 1) / len(days), f"{days[number]:%Y-%m-%d}")
    keep_counted(_counted(callers, [day for day in days if day > now - OLDEST], end))


def _counted(
    callers: list[Caller], days: list[datetime], end: datetime
) -> dict[tuple[datetime, int], tuple[int, int]]:
    """What the past's engines would have counted: all that its gateway metered.

    Summed at the end, because the days of callers in several zones share hours. Without it a
    person had to sign each hour before a month of the past could be closed.
    """
    counts: dict[tuple[datetime, int], tuple[int, int]] = {}
    for event in (event for day in days for event in _day(callers, day, end)):
        if event.service_id:
            hour = datetime.fromtimestamp(event.finished_at // HOUR * HOUR / 1e6, tz=UTC)
            prompt, completion = counts.get((hour, event.service_id), (0, 0))
            counts[hour, event.service_id] = (
                prompt + event.prompt_tokens,
                completion + event.completion_tokens,
            )
    return counts


def _callers() -> Iterator[Caller]:
    with fleet_scope():
        services = service_ids()
        for demo in TENANTS:
            tenant = get_tenant(MACHINE, demo.slug)
            rows = {row.slug: row for row in list_applications(MACHINE, tenant)}
            for application in demo.applications:
                row = rows[application.slug]
                key = list_keys(MACHINE, tenant=tenant, application=row).first()
                number = key.pk if key else 0
                yield Caller(tenant.pk, row.pk, number, demo.time_zone, application, services)


def _day(callers: list[Caller], day: datetime, end: datetime) -> list[UsageEvent]:
    return [event for caller in callers for event in events_of_day(caller, day, end)]


def _deliver(client: httpx.Client, url: str, events: list[UsageEvent]) -> None:
    for start in range(0, len(events), BATCH):
        _post(client, f"{url}/api/v1/usage/events", events[start : start + BATCH])


def _post(client: httpx.Client, url: str, events: list[UsageEvent]) -> None:
    """Deliver one batch; the door may be away for a moment, as any door."""
    body = msgspec.json.encode([_envelope(event) for event in events])
    headers = {"Content-Type": "application/cloudevents-batch+json"}
    trouble = ""
    for attempt in range(ATTEMPTS):
        try:
            answer = client.post(url, content=body, headers=headers)
        except httpx.TransportError as error:
            trouble = str(error)
        else:
            if answer.status_code == 200:
                return _check(answer.json())
            trouble = f"{answer.status_code} {' '.join(answer.text.split())[:160]}"
            if answer.status_code < 500:
                break
        time.sleep(min(10.0, 0.5 * 2**attempt))
    raise Unavailable(f"The ingest door did not take the history: {trouble}")


def _check(answer: dict[str, Any]) -> None:
    if answer["quarantined"]:
        first = answer["quarantined"][0]
        raise Unavailable(
            f"The ingest door put {len(answer['quarantined'])} events of the history into "
            f"quarantine, the first because of {first['reason']}"
        )


def _envelope(event: UsageEvent) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": event.request_id,
        "source": HISTORY_SOURCE,
        "type": EVENT_TYPE,
        "time": datetime.fromtimestamp(event.finished_at / 1e6, tz=UTC).isoformat(),
        "data": event,
    }
