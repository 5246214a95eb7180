"""Two tenants, a gateway, and the people who look at money."""

import pytest

from tests.billing import factories


@pytest.fixture
def acme(db):
    return factories.make_tenant("acme")


@pytest.fixture
def globex(db):
    return factories.make_tenant("globex")


@pytest.fixture
def gateway(db):
    return factories.make_source()


@pytest.fixture
def fiona():
    return factories.viewer("finance", email="fiona@example.com")


@pytest.fixture
def olga():
    return factories.viewer("operator", email="olga@example.com")


@pytest.fixture
def mallory(globex):
    return factories.viewer("operator", globex, email="mallory@example.com")
