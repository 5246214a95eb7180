"""Tenants and the models they may call."""

from dataclasses import replace
from typing import Any

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from gateway.contract.outcomes import TrafficClass
from tenants.actions import tenants as actions
from tenants.api.base.schema import operation
from tenants.api.base.serializers import Strict, TextField, Why
from tenants.api.base.views import ConsoleView, Pages
from tenants.queries import tenants as queries

CLASSES = [c.value for c in TrafficClass]


class TenantOut(serializers.Serializer[Any]):
    slug = serializers.CharField()
    name = serializers.CharField()
    traffic_class = serializers.ChoiceField(CLASSES, help_text="Ceiling for all its credentials")
    currency = serializers.CharField()
    time_zone = serializers.CharField()
    residency = serializers.ListField(child=serializers.CharField())
    hosted_fallback = serializers.BooleanField()
    confidential_only = serializers.BooleanField()
    suspended_at = serializers.DateTimeField(allow_null=True)
    demo = serializers.BooleanField()
    version = serializers.IntegerField()
    created_at = serializers.DateTimeField()
    changed_at = serializers.DateTimeField()


class TenantChange(Strict):
    name = TextField(required=False)
    traffic_class = serializers.ChoiceField(CLASSES, required=False)
    time_zone = TextField(required=False)
    residency = serializers.ListField(child=TextField(), required=False, max_length=50)
    hosted_fallback = serializers.BooleanField(required=False)
    confidential_only = serializers.BooleanField(required=False)
    why = TextField(required=False, default="", allow_blank=True, max_length=2000)


class TenantIn(TenantChange):
    slug = TextField()
    name = TextField()
    currency = TextField(required=False, default="USD")


class TenantFilters(serializers.Serializer[Any]):
    search = serializers.CharField(required=False)
    traffic_class = serializers.ChoiceField(CLASSES, required=False)
    state = serializers.ChoiceField(queries.STATES, required=False)
    policy = serializers.ChoiceField(["confidential", "hosted", "residency"], required=False)
    model = serializers.CharField(required=False)


class GrantOut(serializers.Serializer[Any]):
    model = serializers.CharField()
    created_at = serializers.DateTimeField()


class BySlug(Pages):
    ordering = "slug"


class TenantsView(ConsoleView):
    pagination_class = BySlug

    @operation("tenants_list", gives=TenantOut(many=True), filters=TenantFilters)
    def get(self, request: Request) -> Response:
        wanted = queries.TenantFilter(**self.filters(TenantFilters))
        return self.page(queries.list_tenants(self.viewer, wanted), TenantOut)

    @operation("tenants_create", takes=TenantIn, gives=TenantOut, status=201)
    def post(self, request: Request) -> Response:
        given = self.given(TenantIn)
        slug, currency, why = given.pop("slug"), given.pop("currency"), given.pop("why")
        tenant = actions.create_tenant(
            self.viewer,
            slug=slug,
            currency=currency,
            fields=actions.TenantFields(**given),
            why=why,
        )
        return self.answer(TenantOut(tenant).data, etag=tenant.etag, status=201)


class TenantView(ConsoleView):
    @operation("tenants_get", gives=TenantOut)
    def get(self, request: Request, slug: str) -> Response:
        tenant = queries.get_tenant(self.viewer, slug)
        return self.answer(TenantOut(tenant).data, etag=tenant.etag)

    @operation("tenants_change", takes=TenantChange, gives=TenantOut, if_match=True)
    def patch(self, request: Request, slug: str) -> Response:
        given = self.given(TenantChange)
        why = given.pop("why")
        tenant = queries.get_tenant(self.viewer, slug)
        tenant = actions.change_tenant(
            self.viewer,
            slug,
            fields=replace(actions.fields_of(tenant), **given),
            expected=self.expected_version(of=tenant.pk),
            why=why,
        )
        return self.answer(TenantOut(tenant).data, etag=tenant.etag)


class SuspendView(ConsoleView):
    @operation("tenants_suspend", takes=Why, gives=TenantOut)
    def post(self, request: Request, slug: str) -> Response:
        tenant = actions.suspend_tenant(self.viewer, slug, **self.given(Why))
        return self.answer(TenantOut(tenant).data, etag=tenant.etag)


class ResumeView(ConsoleView):
    @operation("tenants_resume", takes=Why, gives=TenantOut)
    def post(self, request: Request, slug: str) -> Response:
        tenant = actions.resume_tenant(self.viewer, slug, **self.given(Why))
        return self.answer(TenantOut(tenant).data, etag=tenant.etag)


class RenewSaltView(ConsoleView):
    @operation("tenants_renew_salt", takes=Why, gives=TenantOut)
    def post(self, request: Request, slug: str) -> Response:
        tenant = actions.renew_salt(self.viewer, slug, **self.given(Why))
        return self.answer(TenantOut(tenant).data, etag=tenant.etag)


class GrantsView(ConsoleView):
    @operation("grants_list", gives=GrantOut(many=True))
    def get(self, request: Request, slug: str) -> Response:
        tenant = queries.get_tenant(self.viewer, slug)
        return self.page(queries.list_grants(self.viewer, tenant), GrantOut)


class GrantView(ConsoleView):
    @operation("grants_put", takes=Why, gives=GrantOut)
    def put(self, request: Request, slug: str, model: str) -> Response:
        grant = actions.grant_model(self.viewer, slug, model, **self.given(Why))
        return self.answer(GrantOut(grant).data)

    @operation("grants_delete", status=204)
    def delete(self, request: Request, slug: str, model: str) -> Response:
        actions.withdraw_model(self.viewer, slug, model)
        return self.answer()
