"""Any request that fits the schema, or nearly does, gets an answer: never a fault of ours.

Path parameters are those of rows that exist half of the time, so that bodies reach the actions.
"""

import json
from urllib.parse import quote

import pytest
import schemathesis
from drf_spectacular.generators import SchemaGenerator
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.django_db

OURS = r"^/api/v1/(me|tenants|quotas|people|tokens|usage-sources|changes|audit)(/.*)?$"
SCHEMA = schemathesis.openapi.from_dict(SchemaGenerator().get_schema(request=None, public=True))
OPERATIONS = {
    f"{found.ok().method.upper()} {found.ok().path}": found.ok()
    for found in SCHEMA.include(path_regex=OURS).get_all_operations()
}
EXAMPLES = 12


def existing(world, name):
    rows = {
        "slug": "acme", "application": "chat", "key": world["key"], "series": world["series"],
        "user_id": world["person"], "change_id": world["change"], "event_id": world["event"],
        "model": "tiny-chat", "name": "gateway-1", "token": "nothing1",
    }  # fmt: skip
    return rows[name]


@pytest.mark.parametrize("name", OPERATIONS)
def test_it_answers_whatever_is_sent(world, olga, name):
    operation = OPERATIONS[name]
    olga.client.raise_request_exception = False

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(), real=st.booleans())
    def send(case, real):
        address = operation.path
        for key, value in (case.path_parameters or {}).items():
            part = existing(world, key) if real else value
            address = address.replace(f"{{{key}}}", quote(str(part), safe=""))
        answer = olga.client.generic(
            operation.method.upper(),
            address,
            json.dumps(case.body) if isinstance(case.body, dict | list | str) else "",
            content_type="application/json",
            query_params=dict(case.query or {}),
            headers={"if-match": '"1-1"'},
        )
        check(answer)

    send()


def check(answer):
    assert answer.status_code < 500, answer.content[:2000]
    if answer.status_code >= 400 and answer["Content-Type"].startswith("application/"):
        assert answer["Content-Type"] == "application/problem+json"
        assert answer.json()["detail"]
