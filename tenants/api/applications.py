"""Applications of a tenant, and their API keys."""

from datetime import timedelta
from typing import Any

from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from gateway.contract.outcomes import TrafficClass
from tenants.actions import applications, keys
from tenants.api.base.schema import operation
from tenants.api.base.serializers import CountField, Strict, TextField, Why
from tenants.api.base.views import ConsoleView
from tenants.queries import keys as key_queries
from tenants.queries import tenants as queries
from tenants.rules.keys import SCOPES, Wish

CLASSES = [c.value for c in TrafficClass]


class ApplicationOut(serializers.Serializer[Any]):
    tenant = serializers.SlugField(source="tenant.slug")
    slug = serializers.SlugField()
    name = serializers.CharField()
    cost_centre = serializers.CharField()
    version = serializers.IntegerField()
    created_at = serializers.DateTimeField()
    changed_at = serializers.DateTimeField()


class ApplicationChange(Strict):
    name = TextField(required=False)
    cost_centre = TextField(required=False, allow_blank=True)


class ApplicationIn(Strict):
    slug = TextField()
    name = TextField()
    cost_centre = TextField(required=False, default="", allow_blank=True)


class KeyOut(serializers.Serializer[Any]):
    id = serializers.CharField(source="public_id")
    tenant = serializers.SlugField(source="tenant.slug")
    application = serializers.SlugField(source="application.slug")
    name = serializers.CharField()
    state = serializers.SerializerMethodField()
    scopes = serializers.ListField(child=serializers.CharField())
    models = serializers.ListField(
        source="served_models", child=serializers.CharField(), allow_null=True
    )
    traffic_class = serializers.ChoiceField(CLASSES)
    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField(allow_null=True)
    revoked_at = serializers.DateTimeField(allow_null=True)
    last_used_at = serializers.DateTimeField(allow_null=True)

    def get_state(self, key: Any) -> str:
        return key_queries.state_of(key, timezone.now())


class KeyCreated(KeyOut):
    secret = serializers.CharField(allow_null=True, help_text="Shown once, never kept")


class KeyIn(Strict):
    name = TextField()
    scopes = serializers.ListField(
        child=serializers.ChoiceField(SCOPES), required=False, default=list(SCOPES), max_length=10
    )
    models = serializers.ListField(
        child=TextField(), required=False, default=None, allow_null=True, max_length=200
    )
    traffic_class = serializers.ChoiceField(CLASSES, required=False)
    expires_at = serializers.DateTimeField(required=False, default=None, allow_null=True)
    why = TextField(required=False, default="", allow_blank=True, max_length=2000)


class RotateIn(Why):
    overlap_hours = CountField(required=False, default=24, min_value=0, max_value=720)


class KeyFilters(serializers.Serializer[Any]):
    state = serializers.ChoiceField(key_queries.STATES, required=False)


class ApplicationsView(ConsoleView):
    @operation("applications_list", gives=ApplicationOut(many=True))
    def get(self, request: Request, slug: str) -> Response:
        tenant = queries.get_tenant(self.viewer, slug)
        return self.page(queries.list_applications(self.viewer, tenant), ApplicationOut)

    @operation("applications_create", takes=ApplicationIn, gives=ApplicationOut, status=201)
    def post(self, request: Request, slug: str) -> Response:
        given = self.given(ApplicationIn)
        row = applications.create_application(
            self.viewer,
            slug,
            slug=given["slug"],
            name=given["name"],
            cost_centre=given["cost_centre"],
        )
        return self.answer(ApplicationOut(row).data, etag=row.etag, status=201)


class ApplicationView(ConsoleView):
    @operation("applications_get", gives=ApplicationOut)
    def get(self, request: Request, slug: str, application: str) -> Response:
        tenant = queries.get_tenant(self.viewer, slug)
        row = queries.get_application(self.viewer, tenant, application)
        return self.answer(ApplicationOut(row).data, etag=row.etag)

    @operation("applications_change", takes=ApplicationChange, gives=ApplicationOut, if_match=True)
    def patch(self, request: Request, slug: str, application: str) -> Response:
        given = self.given(ApplicationChange)
        tenant = queries.get_tenant(self.viewer, slug)
        row = queries.get_application(self.viewer, tenant, application)
        row = applications.change_application(
            self.viewer,
            slug,
            application,
            name=given.get("name", row.name),
            cost_centre=given.get("cost_centre", row.cost_centre),
            expected=self.expected_version(of=row.pk),
        )
        return self.answer(ApplicationOut(row).data, etag=row.etag)


class KeysView(ConsoleView):
    @operation("keys_list", gives=KeyOut(many=True), filters=KeyFilters)
    def get(self, request: Request, slug: str) -> Response:
        tenant = queries.get_tenant(self.viewer, slug)
        rows = key_queries.list_keys(self.viewer, tenant=tenant)
        state = self.filters(KeyFilters).get("state", "")
        return self.page(key_queries.in_state(rows, state), KeyOut)


class ApplicationKeysView(ConsoleView):
    @operation("keys_create", takes=KeyIn, gives=KeyCreated, status=201)
    def post(self, request: Request, slug: str, application: str) -> Response:
        given = self.given(KeyIn)
        tenant = queries.get_tenant(self.viewer, slug)
        models = given["models"]
        wish = Wish(
            name=given["name"],
            scopes=tuple(given["scopes"]),
            served_models=None if models is None else tuple(models),
            traffic_class=given.get("traffic_class", tenant.traffic_class),
            expires_at=given["expires_at"],
        )
        key, secret = keys.create_key(self.viewer, slug, application, wish=wish, why=given["why"])
        return self.answer(shown_once(key, secret), status=201)


class KeyView(ConsoleView):
    @operation("keys_get", gives=KeyOut)
    def get(self, request: Request, slug: str, key: str) -> Response:
        tenant = queries.get_tenant(self.viewer, slug)
        return self.answer(KeyOut(key_queries.get_key(self.viewer, tenant, key)).data)


class RotateKeyView(ConsoleView):
    @operation("keys_rotate", takes=RotateIn, gives=KeyCreated, status=201)
    def post(self, request: Request, slug: str, key: str) -> Response:
        given = self.given(RotateIn)
        overlap = timedelta(hours=given["overlap_hours"])
        new, secret = keys.rotate_key(self.viewer, slug, key, overlap=overlap, why=given["why"])
        return self.answer(shown_once(new, secret), status=201)


class RevokeKeyView(ConsoleView):
    @operation("keys_revoke", takes=Why, gives=KeyOut)
    def post(self, request: Request, slug: str, key: str) -> Response:
        revoked = keys.revoke_key(self.viewer, slug, key, **self.given(Why))
        return self.answer(KeyOut(revoked).data)


def shown_once(key: Any, secret: str) -> dict[str, Any]:
    return {**KeyOut(key).data, "secret": secret}
