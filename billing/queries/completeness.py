"""How complete the figures are: what still waits on each step from request to charge."""

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, Min, Sum

from billing.models import HourHead, HourMark, UnpricedUsage, UsageHour, UsageQuarantine
from billing.queries.hours import unrated_hours
from tenants.rules.access import Permission, Viewer


@dataclass(frozen=True, slots=True)
class Completeness:
    """Zero everywhere means: every request that gateways reported is charged or free."""

    events: int  # stored, of the range
    quarantined: dict[str, int]  # all that wait for a person, by reason
    hours_to_roll_up: int
    hours_to_rate: int
    oldest_to_rate: datetime | None
    unpriced_rows: int
    unpriced_models: tuple[str, ...]
    prompt_tokens: int  # of the range, whatever the outcome: to compare with engines
    completion_tokens: int

    @property
    def is_complete(self) -> bool:
        waiting = self.hours_to_roll_up + self.hours_to_rate + self.unpriced_rows
        return not waiting and not self.quarantined


def completeness(
    viewer: Viewer, start: datetime, end: datetime, *, tenant_id: int | None = None
) -> Completeness:
    viewer.require(Permission.VIEW_MONEY, tenant_id)
    narrow = {} if tenant_id is None else {"tenant_id": tenant_id}
    heads = HourHead.objects.filter(hour__gte=start, hour__lt=end, **narrow)
    hours = UsageHour.objects.filter(hour__gte=start, hour__lt=end, **narrow)
    unpriced = UnpricedUsage.objects.filter(hour__gte=start, hour__lt=end, **narrow)
    bad = UsageQuarantine.objects.filter(**narrow).values_list("reason")
    tokens = hours.aggregate(prompt=Sum("prompt_tokens"), completion=Sum("completion_tokens"))
    waiting = unrated_hours(start, end, None if tenant_id is None else [tenant_id])
    oldest = unpriced.aggregate(hour=Min("hour"))["hour"]
    return Completeness(
        events=heads.aggregate(n=Sum("events"))["n"] or 0,
        quarantined=dict(bad.annotate(n=Count("id")).order_by("reason")),
        hours_to_roll_up=HourMark.objects.filter(**narrow).count(),
        hours_to_rate=len(waiting),
        oldest_to_rate=min((hour for hour, _ in waiting), default=None),
        unpriced_rows=unpriced.count() if oldest else 0,
        unpriced_models=tuple(
            unpriced.values_list("model", flat=True).distinct().order_by("model")
        ),
        prompt_tokens=tokens["prompt"] or 0,
        completion_tokens=tokens["completion"] or 0,
    )
