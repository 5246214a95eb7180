"""Query parameters that several doors share."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone
from rest_framework import serializers

from billing.queries.charged import ChargeFilter
from billing.queries.requests import OUTCOMES, UsageFilter
from billing.rules.meters import Meter
from billing.rules.years import SAID, is_known
from gateway.contract.outcomes import TrafficClass
from tenants.errors import Invalid, NotFound
from tenants.queries.directory import application_refs, tenant_refs

RECENT = timedelta(days=1)
LONGEST = timedelta(days=400)
METERS = tuple(m.value for m in Meter)
CLASSES = tuple(c.value for c in TrafficClass)


class RangeFilters(serializers.Serializer[Any]):
    """Half open: `since` belongs to it, `until` does not. Default: the last 24 hours."""

    since = serializers.DateTimeField(required=False)
    until = serializers.DateTimeField(required=False)


class TenantFilters(RangeFilters):
    tenant = serializers.SlugField(required=False, max_length=63)
    application = serializers.SlugField(required=False, max_length=63)
    model = serializers.CharField(required=False, max_length=128)
    traffic_class = serializers.ChoiceField(CLASSES, required=False)


class ChargeFilters(TenantFilters):
    meter = serializers.ChoiceField(METERS, required=False)


class UsageFilters(TenantFilters):
    outcome = serializers.ChoiceField(
        (*OUTCOMES, "trouble"), required=False, help_text="trouble: all but served"
    )


class RequestFilters(UsageFilters):
    service_id = serializers.IntegerField(required=False, min_value=1, max_value=2**53)
    release = serializers.CharField(required=False, max_length=32)
    reason = serializers.CharField(required=False, max_length=64)
    request_id = serializers.UUIDField(required=False)


def read_range(given: dict[str, Any]) -> tuple[datetime, datetime]:
    for name in ("since", "until"):
        if (at := given.get(name)) and not is_known(at):
            raise Invalid(**{name: SAID})
    end = given.pop("until", None) or timezone.now()
    start = given.pop("since", None) or end - RECENT
    if not start < end <= start + LONGEST:
        raise Invalid(since=f"The range ends after it starts, and within {LONGEST.days} days")
    return start, end


def read_filter(given: dict[str, Any], make: Callable[..., Any]) -> Any:
    """A `ChargeFilter` or `UsageFilter`: names become ids, unknown names find nothing (404)."""
    start, end = read_range(given)
    tenant, application = given.pop("tenant", ""), given.pop("application", "")
    if application and not tenant:
        raise Invalid(application="Name its tenant too: applications have names within a tenant")
    if tenant:
        given["tenant_id"] = tenant_id_of(tenant)
    if application:
        given["application_id"] = application_id_of(given["tenant_id"], application)
    if "request_id" in given:
        given["request_id"] = str(given["request_id"])
    return make(start, end, **given)


def charge_filter(given: dict[str, Any]) -> ChargeFilter:
    found: ChargeFilter = read_filter(given, ChargeFilter)
    return found


def usage_filter(given: dict[str, Any]) -> UsageFilter:
    found: UsageFilter = read_filter(given, UsageFilter)
    return found


def tenant_id_of(slug: str) -> int:
    """In the viewer's scope: what is not his does not exist."""
    for tenant in tenant_refs().values():
        if tenant.slug == slug:
            return tenant.id
    raise NotFound("There is nothing here, or it is not yours to see")


def application_id_of(tenant_id: int, slug: str) -> int:
    for application in application_refs().values():
        if application.tenant_id == tenant_id and application.slug == slug:
            return application.id
    raise NotFound("There is nothing here, or it is not yours to see")
