"""What a person reads when something beneath the console fails."""

import pytest
from django.db import InterfaceError, OperationalError
from django.http import HttpResponse
from django.test import RequestFactory
from redis.exceptions import ConnectionError as RedisAway

from console.views.errors import broken


def answer_to(error: Exception, path: str) -> HttpResponse:
    try:
        raise error
    except type(error):
        return broken(RequestFactory().get(path))


@pytest.mark.parametrize("error", [OperationalError(), InterfaceError(), RedisAway()], ids=repr)
@pytest.mark.parametrize("path", ["/api/v1/tenants/", "/tenants/"])
def test_it_says_that_a_store_is_away(error: Exception, path: str):
    answer = answer_to(error, path)
    assert (answer.status_code, answer["Retry-After"]) == (503, "5")
    assert "PostgreSQL or Redis does not answer" in answer.content.decode()


@pytest.mark.parametrize("path", ["/api/v1/tenants/", "/tenants/"])
def test_it_calls_a_defect_a_defect(path: str):
    answer = answer_to(KeyError("x"), path)
    assert answer.status_code == 500
    assert "Retry-After" not in answer
