"""People, their roles and tokens, gateways' credentials, and who the caller is."""

from datetime import timedelta
from typing import Any

from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from tenants.actions import people as actions
from tenants.actions import tokens
from tenants.actions.tokens import LONGEST_OVERLAP
from tenants.api.base.schema import operation
from tenants.api.base.serializers import CountField, Strict, TextField, Why
from tenants.api.base.views import ConsoleView
from tenants.queries import people as queries
from tenants.rules.access import Permission, Role
from tenants.rules.networks import MOST

MOST_TENANTS = 1_000  # of a source
ROLES = [r.value for r in Role]
PERMISSIONS = [p.value for p in Permission]


class BindingOut(serializers.Serializer[Any]):
    role = serializers.ChoiceField(ROLES)
    tenant = serializers.SlugField(source="tenant.slug", default=None, allow_null=True)


class PersonOut(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    email = serializers.EmailField()
    name = serializers.CharField(allow_blank=True)
    is_active = serializers.BooleanField()
    roles = BindingOut(many=True, source="bindings.all")
    last_login = serializers.DateTimeField(allow_null=True)
    created_at = serializers.DateTimeField()


class PersonCreated(PersonOut):
    password = serializers.CharField(allow_null=True, help_text="Shown once, never kept")


class PersonIn(Strict):
    email = TextField()
    name = TextField(required=False, default="", allow_blank=True)
    role = serializers.ChoiceField(ROLES)
    tenant = TextField(required=False, default="", allow_blank=True)
    why = TextField(required=False, default="", allow_blank=True, max_length=2000)


class RoleIn(Strict):
    role = serializers.ChoiceField(ROLES)
    tenant = TextField(required=False, default="", allow_blank=True)
    why = TextField(required=False, default="", allow_blank=True, max_length=2000)


class PeopleFilters(serializers.Serializer[Any]):
    search = serializers.CharField(required=False)
    role = serializers.ChoiceField(ROLES, required=False)
    active = serializers.ChoiceField(["yes", "no"], required=False)


class TokenOut(serializers.Serializer[Any]):
    id = serializers.CharField(source="public_id")
    name = serializers.CharField()
    owner = serializers.EmailField(source="user.email")
    permissions = serializers.ListField(child=serializers.ChoiceField(PERMISSIONS))
    networks = serializers.ListField(
        child=serializers.CharField(), help_text="From where it may be used; none: anywhere"
    )
    state = serializers.SerializerMethodField()
    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField()
    revoked_at = serializers.DateTimeField(allow_null=True)
    last_used_at = serializers.DateTimeField(allow_null=True)

    def get_state(self, token: Any) -> str:
        return queries.token_state(token, timezone.now())


class TokenCreated(TokenOut):
    secret = serializers.CharField(allow_null=True, help_text="Shown once, never kept")


class TokenIn(Strict):
    name = TextField()
    permissions = serializers.ListField(child=serializers.ChoiceField(PERMISSIONS), max_length=20)
    days = CountField(min_value=1, max_value=365)
    networks = serializers.ListField(
        child=TextField(max_length=43), required=False, default=list, max_length=MOST,
        help_text="From where it may be used, as 203.0.113.0/24; none: anywhere",
    )  # fmt: skip


class SourceOut(serializers.Serializer[Any]):
    name = serializers.SlugField()
    public_id = serializers.CharField()
    created_at = serializers.DateTimeField()
    revoked_at = serializers.DateTimeField(allow_null=True)
    previous_until = serializers.DateTimeField(
        allow_null=True, help_text="Until when the secret before is accepted too"
    )
    tenant_ids = serializers.ListField(
        child=serializers.IntegerField(), help_text="It reports for these; none: for all"
    )


class SourceCreated(SourceOut):
    secret = serializers.CharField(allow_null=True, help_text="Shown once, never kept")


class SourceIn(Strict):
    name = TextField()
    tenants = serializers.ListField(
        child=TextField(max_length=63), required=False, default=list, max_length=MOST_TENANTS,
        help_text="Slugs of those that it reports for; none: for all",
    )  # fmt: skip


class RenewSourceIn(Why):
    keep_hours = CountField(
        min_value=0, max_value=LONGEST_OVERLAP, required=False, default=0,
        help_text="For how long the old secret is accepted beside the new one",
    )  # fmt: skip


class MeOut(serializers.Serializer[Any]):
    email = serializers.CharField()
    via = serializers.CharField()
    roles = serializers.ListField(child=serializers.CharField())
    permissions = serializers.ListField(child=serializers.CharField())


class MeView(ConsoleView):
    @operation("me_get", gives=MeOut)
    def get(self, request: Request) -> Response:
        viewer = self.viewer
        permissions = tokens.grantable(viewer)
        data = {"email": viewer.email, "via": viewer.via, "roles": viewer.roles}
        return self.answer(MeOut({**data, "permissions": permissions}).data)


class PeopleView(ConsoleView):
    @operation("people_list", gives=PersonOut(many=True), filters=PeopleFilters)
    def get(self, request: Request) -> Response:
        rows = queries.list_people(self.viewer, **self.filters(PeopleFilters))
        return self.page(rows, PersonOut)

    @operation("people_invite", takes=PersonIn, gives=PersonCreated, status=201)
    def post(self, request: Request) -> Response:
        user, password = actions.invite_person(self.viewer, **self.given(PersonIn))
        return self.answer({**PersonOut(user).data, "password": password}, status=201)


class PersonView(ConsoleView):
    @operation("people_get", gives=PersonOut)
    def get(self, request: Request, user_id: int) -> Response:
        return self.answer(PersonOut(queries.get_person(self.viewer, user_id)).data)


class GiveRoleView(ConsoleView):
    @operation("people_give_role", takes=RoleIn, gives=PersonOut)
    def post(self, request: Request, user_id: int) -> Response:
        actions.give_role(self.viewer, user_id, **self.given(RoleIn))
        return self.answer(PersonOut(queries.get_person(self.viewer, user_id)).data)


class TakeRoleView(ConsoleView):
    @operation("people_take_role", takes=RoleIn, gives=PersonOut)
    def post(self, request: Request, user_id: int) -> Response:
        actions.take_role(self.viewer, user_id, **self.given(RoleIn))
        return self.answer(PersonOut(queries.get_person(self.viewer, user_id)).data)


class DeactivateView(ConsoleView):
    @operation("people_deactivate", takes=Why, gives=PersonOut)
    def post(self, request: Request, user_id: int) -> Response:
        user = actions.deactivate_person(self.viewer, user_id, **self.given(Why))
        return self.answer(PersonOut(user).data)


class ReactivateView(ConsoleView):
    @operation("people_reactivate", takes=Why, gives=PersonOut)
    def post(self, request: Request, user_id: int) -> Response:
        user = actions.reactivate_person(self.viewer, user_id, **self.given(Why))
        return self.answer(PersonOut(user).data)


class ResetPasswordView(ConsoleView):
    @operation("people_reset_password", takes=Why, gives=PersonCreated)
    def post(self, request: Request, user_id: int) -> Response:
        user, password = actions.reset_password(self.viewer, user_id, **self.given(Why))
        return self.answer({**PersonOut(user).data, "password": password})


class TokensView(ConsoleView):
    @operation("tokens_list", gives=TokenOut(many=True))
    def get(self, request: Request) -> Response:
        """One's own tokens."""
        return self.page(queries.list_tokens(self.viewer), TokenOut)

    @operation("tokens_create", takes=TokenIn, gives=TokenCreated, status=201)
    def post(self, request: Request) -> Response:
        given = self.given(TokenIn)
        token, secret = tokens.create_token(
            self.viewer,
            name=given["name"],
            permissions=given["permissions"],
            lifetime=timedelta(days=given["days"]),
            networks=given["networks"],
        )
        return self.answer({**TokenOut(token).data, "secret": secret}, status=201)


class RevokeTokenView(ConsoleView):
    @operation("tokens_revoke", takes=Why, gives=TokenOut)
    def post(self, request: Request, token: str) -> Response:
        return self.answer(
            TokenOut(tokens.revoke_token(self.viewer, token, **self.given(Why))).data
        )


class SourcesView(ConsoleView):
    @operation("sources_list", gives=SourceOut(many=True))
    def get(self, request: Request) -> Response:
        return self.page(queries.list_sources(self.viewer), SourceOut)

    @operation("sources_create", takes=SourceIn, gives=SourceCreated, status=201)
    def post(self, request: Request) -> Response:
        source, secret = tokens.create_source(self.viewer, **self.given(SourceIn))
        return self.answer({**SourceOut(source).data, "secret": secret}, status=201)


class RenewSourceView(ConsoleView):
    @operation("sources_renew", takes=RenewSourceIn, gives=SourceCreated)
    def post(self, request: Request, name: str) -> Response:
        """Make a new secret. It stays the same source: what it sends again is known."""
        source, secret = tokens.renew_source(self.viewer, name, **self.given(RenewSourceIn))
        return self.answer({**SourceOut(source).data, "secret": secret})


class RevokeSourceView(ConsoleView):
    @operation("sources_revoke", takes=Why, gives=SourceOut)
    def post(self, request: Request, name: str) -> Response:
        source = tokens.revoke_source(self.viewer, name, **self.given(Why))
        return self.answer(SourceOut(source).data)
