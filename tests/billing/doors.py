"""The doors of the finance API: a person with a token, and a client that carries it."""

import json
from datetime import timedelta

from django.test import Client
from django.utils import timezone

from tenants.base.scope import fleet_scope
from tenants.models import AccessToken, RoleBinding, User
from tenants.rules.secrets import Kind, compose, digest

MONEY = ["view", "view_money", "manage_money"]


def make_token(name, role, tenant=None, permissions=MONEY):
    user = User.objects.create(email=f"{name}@example.com")
    secret = compose(Kind.ACCESS_TOKEN, f"{name:a<8}"[:8], name[0] * 43)
    AccessToken.objects.create(
        user=user,
        name=name,
        public_id=secret[4:12],
        digest=digest(secret),
        permissions=permissions,
        expires_at=timezone.now() + timedelta(days=1),
    )
    with fleet_scope():
        RoleBinding.objects.create(user=user, role=role, tenant=tenant)
    return secret


class Door:
    """A client of the API with one token."""

    def __init__(self, secret):
        self.secret = secret

    def __call__(self, method, path, body=None, **headers):
        data = body if isinstance(body, bytes) else json.dumps(body or {}).encode()
        more = {} if method == "get" else {"data": data, "content_type": "application/json"}
        send = getattr(Client(), method)
        auth = {"Authorization": f"Bearer {self.secret}"}
        return send(f"/api/v1/{path}", headers=auth | headers, **more)

    def get(self, path):
        answer = self("get", path)
        assert answer.status_code == 200, answer.content
        return answer.json()
