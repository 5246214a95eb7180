"""People, tenants, applications, keys, quotas, prices. Doing it again makes what is missing."""

from datetime import datetime, timedelta

from django.db import transaction

from console.demo.cast import (
    HISTORY_SOURCE,
    OPEN_KEY,
    PEOPLE,
    SOURCE,
    TENANTS,
    DemoApplication,
    DemoPerson,
    DemoTenant,
)
from console.demo.credentials import Credentials
from console.demo.credits import grant_credits
from console.demo.prices import set_prices
from console.demo.services import MACHINE, register_services
from tenants.actions.applications import create_application
from tenants.actions.keys import create_key, revoke_key
from tenants.actions.people import give_role, invite_person, reset_password
from tenants.actions.quotas import Target, set_quota
from tenants.actions.tenants import TenantFields, create_tenant, grant_model
from tenants.actions.tokens import create_source, create_token, renew_source
from tenants.base.scope import fleet_scope
from tenants.queries.access import viewer_of_secret, viewer_of_user
from tenants.queries.keys import in_state, list_keys
from tenants.queries.people import list_people, list_sources
from tenants.queries.tenants import get_tenant, list_applications, visible_tenants
from tenants.rules.access import Permission, Viewer
from tenants.rules.keys import SCOPES, Wish
from tenants.rules.quotas import Limits

WHY = "Part of the demo"
FINANCE_SCOPES = (Permission.VIEW, Permission.VIEW_MONEY, Permission.MANAGE_MONEY)


def prepare(kept: Credentials, now: datetime, replicas: int = 2) -> Credentials:
    """Make what is missing; return the credentials, those that still work unchanged.

    `replicas`: of the small service, whose engines may be real ones.
    """
    made = dict(kept)
    with fleet_scope():
        for tenant in TENANTS:
            _tenant(tenant)
        register_services(replicas)
        set_prices(now)
        for person in PEOPLE:
            made[person.who] = _person(person, made.get(person.who))
        grant_credits(viewer_named("finance"), viewer_named("approver"), now)
        open_keys, clients = dict(made.get("api_keys", {})), []
        for tenant in TENANTS:
            first = tenant.applications[0]
            secret = open_keys.get(tenant.slug, "")
            open_keys[tenant.slug] = _key(tenant, first, OPEN_KEY, "interactive", None, secret)
            clients += [_client(tenant, app, kept) for app in tenant.applications]
        made |= {"api_keys": open_keys, "clients": clients}
        made["finance_token"] = _finance_token(made.get("finance_token", ""))
        made["ingest_token"] = _source(SOURCE, made.get("ingest_token", ""))
        made["history_token"] = _source(HISTORY_SOURCE, made.get("history_token", ""))
    return made


def viewer_named(who: str) -> Viewer:
    """One of the demo's people, acting under his own name."""
    email = next(person.email for person in PEOPLE if person.who == who)
    return viewer_of_user(list_people(MACHINE, search=email).get(email=email))


def _tenant(demo: DemoTenant) -> None:
    if not visible_tenants(MACHINE).filter(slug=demo.slug).exists():
        fields = TenantFields(
            name=demo.name, traffic_class=demo.traffic_class, time_zone=demo.time_zone
        )
        create_tenant(MACHINE, slug=demo.slug, fields=fields, demo=True, why=WHY)
        for model in dict.fromkeys(m for app in demo.applications for m in app.models):
            grant_model(MACHINE, demo.slug, model, why=WHY)
        limits = Limits(
            requests_per_minute=demo.requests_per_minute,
            tokens_per_minute=demo.tokens_per_minute,
            concurrency=demo.concurrency,
            monthly_budget=demo.monthly_budget,
        )
        set_quota(MACHINE, Target(demo.slug), limits=limits, why=WHY)
    known = {row.slug for row in list_applications(MACHINE, get_tenant(MACHINE, demo.slug))}
    for app in demo.applications:
        if app.slug not in known:
            _application(demo, app)


def _application(demo: DemoTenant, app: DemoApplication) -> None:
    create_application(
        MACHINE, demo.slug, slug=app.slug, name=app.name, cost_centre=app.cost_centre
    )
    if app.traffic_class == "batch":
        limits = Limits(
            requests_per_minute=demo.requests_per_minute // 4,
            concurrency=demo.concurrency // 4,
            monthly_tokens=app.monthly_tokens,
        )
        set_quota(MACHINE, Target(demo.slug, application=app.slug), limits=limits, why=WHY)


def _person(demo: DemoPerson, kept: dict[str, str] | None) -> dict[str, str]:
    """A password that somebody changed since is his own: it is neither known nor reset."""
    user = list_people(MACHINE, search=demo.email).filter(email=demo.email).first()
    if user and kept:
        return kept
    if user:
        _, password = reset_password(MACHINE, user.pk, why="The demo lost its own copy")
        return {"email": demo.email, "password": password}
    first, *others = demo.roles
    user, password = invite_person(
        MACHINE, email=demo.email, name=demo.name, role=first, tenant=demo.tenant, why=WHY
    )
    for role in others:
        give_role(MACHINE, user.pk, role=role, why=WHY)
    return {"email": demo.email, "password": password}


def _client(demo: DemoTenant, app: DemoApplication, kept: Credentials) -> dict[str, object]:
    """A client of the traffic generator, with a key of its own."""
    name = {"tenant": demo.slug, "application": app.slug}
    rows = kept.get("clients", [])
    secret = next((row["key"] for row in rows if name.items() <= row.items()), "")
    key = _key(demo, app, f"{app.slug}-clients", app.traffic_class, app.models, secret)
    return name | {"key": key, "traffic_class": app.traffic_class, "models": list(app.models)}


def _key(
    demo: DemoTenant,
    app: DemoApplication,
    name: str,
    traffic_class: str,
    models: tuple[str, ...] | None,
    secret: str,
) -> str:
    live = in_state(list_keys(MACHINE, tenant=get_tenant(MACHINE, demo.slug)), "live")
    named = {key.public_id for key in live.filter(name=name, application__slug=app.slug)}
    if secret and secret.split("_")[1] in named:
        return secret
    for public_id in named:
        revoke_key(MACHINE, demo.slug, public_id, why="The demo lost its own copy")
    wish = Wish(name, SCOPES, models, traffic_class, None)
    _, secret = create_key(MACHINE, demo.slug, app.slug, wish=wish, why=WHY)
    return secret


def _finance_token(secret: str) -> str:
    if secret and viewer_of_secret(secret):
        return secret
    owner = viewer_named("finance").user_id
    scopes = [scope.value for scope in FINANCE_SCOPES]
    life = timedelta(days=365)
    _, secret = create_token(
        MACHINE, name="finance-demo", permissions=scopes, lifetime=life, owner_id=owner
    )
    return secret


def _source(name: str, secret: str) -> str:
    if secret and viewer_of_secret(secret):
        return secret
    with transaction.atomic():
        if list_sources(MACHINE).filter(name=name).exists():
            return renew_source(MACHINE, name, why="The demo lost its own copy")[1]
        return create_source(MACHINE, name=name)[1]
