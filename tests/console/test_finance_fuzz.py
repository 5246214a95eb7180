"""Whatever is sent to the finance API, the answer is one that its OpenAPI document describes.

On a month of data, as who may do all, as the finance user of one tenant, and as a stranger. Path
parameters are those of rows that exist half of the time, so that bodies reach the actions.
QM_FUZZ_EXAMPLES sends more of them.
"""

import json
import os
from urllib.parse import quote

import pytest
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from requests import Request
from schemathesis.checks import not_a_server_error
from schemathesis.core.transport import Response
from schemathesis.specs.openapi import checks

from tenants.base.scope import fleet_scope
from tenants.models import RoleBinding, User
from tests.console import finance_operations as known
from tests.console.finance_operations import OPERATIONS

pytestmark = pytest.mark.django_db
EXAMPLES = int(os.environ.get("QM_FUZZ_EXAMPLES", "3"))
CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
]
ANYBODY = ("olga", "acme", "initech")


@pytest.fixture
def people(scene):
    """Who may do all, and who sees the money of one tenant; by their names."""
    with fleet_scope():
        for tenant in (scene.tenants[0], scene.tenants[2]):
            user = User.objects.create(email=f"money@{tenant.slug}.example")
            RoleBinding.objects.create(user=user, role="finance", tenant=tenant)
            setattr(scene, tenant.slug, user)
        known.furnish(scene)
    found = {}
    for name in ANYBODY:
        found[name] = Client(raise_request_exception=False)
        found[name].force_login(getattr(scene, name))
    return found


@pytest.mark.parametrize("name", OPERATIONS)
def test_it_answers_as_its_document_says(scene, people, name):
    """The stranger first: whoever may do it does it last, and changes what is there."""
    operation = OPERATIONS[name]
    real, body = known.parts(scene, name), known.bodies(scene).get(name)
    given, is_unknown = known.queries(scene), name in known.unknown(scene)
    good = {p.name: given[p.name] for p in operation.query if p.name in given}
    least = {p.name: given[p.name] for p in operation.query if p.is_required}
    more = {} if body is None else {"body": body}
    for who in reversed(ANYBODY):
        for query in [least, good] if good and who != "initech" else [least]:
            case = operation.Case(path_parameters=real, query=query, **more)
            answer = send(people[who], operation, case)
        if who == "initech" and real and name not in known.OF_EVERYBODY:
            assert answer.status_code >= 400
    expected = known.REFUSED.get(name, documented(operation)[0])
    assert is_unknown or answer.status_code == expected, answer.content


def test_it_knows_how_to_call_every_operation(scene):
    """A new one has its path parameters and its body in `finance_operations`."""
    assert known.unknown(scene) == []


@pytest.mark.parametrize("name", OPERATIONS)
def test_it_answers_whatever_is_sent(scene, people, name):
    operation = OPERATIONS[name]
    real = known.parts(scene, name)
    given_queries = known.queries(scene)

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(), is_real=st.booleans(), who=st.sampled_from(ANYBODY))
    def fuzz(case, is_real, who):
        if is_real:
            case.path_parameters = real
            names = dict(case.query or {})
            case.query = names | {k: v for k, v in given_queries.items() if k in names}
        send(people[who], operation, case)

    fuzz()


def send(client, operation, case):
    """Send it, and check the answer against the document."""
    address = operation.path
    for key, value in (case.path_parameters or {}).items():
        address = address.replace(f"{{{key}}}", quote(str(value), safe=""))
    has_body = isinstance(case.body, dict | list | str)
    answer = client.generic(
        operation.method.upper(),
        address,
        json.dumps(case.body) if has_body else "",
        content_type=media_type(operation),
        query_params=dict(case.query or {}),
        headers=headers(client, operation, address),
    )
    content = b"".join(answer.streaming_content) if answer.streaming else answer.content
    asked = Request(operation.method, f"http://test{address}").prepare()
    shown = {name.lower(): [value] for name, value in answer.headers.items()}
    response = Response(answer.status_code, shown, content, asked, 0.0, verify=False)
    case.validate_response(response, checks=CHECKS)
    assert answer.status_code >= 400 or answer.status_code in documented(operation)
    return answer


def media_type(operation):
    return next((part.media_type for part in operation.body), "application/json")


def documented(operation):
    """The statuses of what it may do. What refuses is described once for all, as `default`."""
    named = [int(key) for key in operation.definition.raw["responses"] if key != "default"]
    return sorted(status for status in named if status < 400)


def headers(client, operation, address):
    """The ETag of what it changes: of the object itself, or of what it belongs to."""
    if "If-Match" not in {p.name for p in operation.headers}:
        return {}
    while address.count("/") > 3:
        etag = client.get(address).get("ETag")
        if etag:
            return {"if-match": etag}
        address = address.rpartition("/")[0]
    return {"if-match": '"1-1"'}
