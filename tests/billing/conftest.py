"""Two tenants, a gateway, and the people who look at money."""

import pytest
from django.core import mail

from tests.billing import factories
from tests.billing.doors import Door, make_token
from tests.billing.factories import make_prices
from tests.billing.granted import PRICES, person
from tests.billing.old_days import old_day
from tests.billing.receiver import receiver


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


@pytest.fixture
def fin(db):
    return person("fiona", "finance")


@pytest.fixture
def vic(db):
    return person("vic", "approver")


@pytest.fixture
def priced(db):
    make_prices(PRICES)


@pytest.fixture(scope="module")
def old_noon(django_db_setup):
    """Of a day that is old enough to go, and has a part of its own."""
    with old_day() as noon:
        yield noon


@pytest.fixture
def door():
    """Somebody else's server, to which deliveries go."""
    with receiver() as server:
        yield server


@pytest.fixture
def finance():
    return Door(make_token("fiona", "finance"))


@pytest.fixture
def stranger(globex):
    return Door(make_token("mallory", "operator", globex))


@pytest.fixture
def on_call(settings):
    """Somebody is mailed at night."""
    settings.QM_ON_CALL_MAILS = ("night@example.com",)
    settings.EMAIL_HOST = "mail.example.com"
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    mail.outbox.clear()
