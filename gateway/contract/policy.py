"""The policy snapshot: who may use what, within which limits, at which price."""

from __future__ import annotations

import msgspec

from gateway.contract.outcomes import TrafficClass

SCHEMA = 1


class DataPolicy(msgspec.Struct, frozen=True, kw_only=True):
    residency: tuple[str, ...] = ()  # allowed regions; empty: any
    hosted_fallback: bool = False  # may leave for a platform that others run
    confidential_only: bool = False


class Tenant(msgspec.Struct, frozen=True, kw_only=True):
    id: int
    slug: str
    traffic_class: TrafficClass  # ceiling for all its credentials
    models: tuple[str, ...]  # served model names it was granted
    data_policy: DataPolicy = DataPolicy()
    suspended: bool = False
    salt_epoch: int = 1
    demo: bool = False


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    id: int
    tenant_id: int
    application_id: int
    application: str
    traffic_class: TrafficClass
    scopes: tuple[str, ...] = ("inference", "models")
    models: tuple[str, ...] | None = None  # None: all that the tenant was granted
    expires_at: float | None = None  # seconds since the epoch


class Limit(msgspec.Struct, frozen=True, kw_only=True):
    """One quota. None means "no opinion", 0 suspends. All that match a request must pass."""

    id: int
    version: int
    tenant_id: int
    application_id: int | None = None  # None: the whole tenant
    model: str | None = None  # None: all models together
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrency: int | None = None
    budget_micros: int | None = None  # micro-units of the currency, per `budget_period`
    budget_input_tokens: int | None = None  # per `budget_period`, as all budgets
    budget_output_tokens: int | None = None
    budget_tokens: int | None = None  # input and output together
    budget_period: str = ""  # "2026-11", in the tenant's time zone
    budget_ends_at: float = 0.0  # seconds since the epoch


class Price(msgspec.Struct, frozen=True, kw_only=True):
    """Micro-units of the currency per million tokens; 150000 is 0.15 a million."""

    version: int
    prompt: int
    cached: int
    completion: int


class PolicySnapshot(msgspec.Struct, frozen=True, kw_only=True):
    schema: int = SCHEMA
    version: int
    issued_at: float
    tenants: dict[int, Tenant]
    keys: dict[str, ApiKey]  # by the hexadecimal SHA-256 of the whole key
    limits: tuple[Limit, ...]
    prices: dict[str, Price]  # by served model name; absent: unpriced, no money is held
