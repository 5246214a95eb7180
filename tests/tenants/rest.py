"""How the tests call the REST API: by a session's client or by a bearer token."""

import json

from django.test import Client

V1 = "/api/v1/"


def call(client, method, address, body=None, **headers):
    return client.generic(
        method,
        V1 + address,
        json.dumps(body) if body is not None else "",
        content_type="application/json",
        headers=headers,
    )


def bearer(secret):
    return Client(headers={"authorization": f"Bearer {secret}"})
