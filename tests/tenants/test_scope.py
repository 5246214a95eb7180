"""Row level security, as the role that the web process uses."""

import pytest
from django.db import IntegrityError, connection, transaction

from tenants.base.scope import fleet_scope, tenant_scope
from tenants.models import ApiKey, Application, Tenant

pytestmark = pytest.mark.django_db


@pytest.fixture
def two_tenants():
    with fleet_scope():
        acme = Tenant.objects.create(slug="acme", name="Acme")
        globex = Tenant.objects.create(slug="globex", name="Globex")
        Application.objects.create(tenant=acme, slug="chat", name="Chat")
        Application.objects.create(tenant=globex, slug="search", name="Search")
    return acme, globex


def test_it_connects_as_a_role_that_policies_bind():
    with connection.cursor() as cursor:
        cursor.execute("SELECT rolsuper, rolbypassrls FROM pg_roles WHERE rolname = current_user")
        assert cursor.fetchone() == (False, False)


def test_it_shows_nothing_without_a_scope(two_tenants):
    assert list(Application.objects.all()) == []


def test_it_shows_one_tenant_its_own_rows(two_tenants):
    acme, _ = two_tenants
    with tenant_scope(acme.pk):
        assert [a.slug for a in Application.objects.all()] == ["chat"]


def test_it_gives_the_outer_scope_back(two_tenants):
    acme, globex = two_tenants
    with tenant_scope(acme.pk):
        with tenant_scope(globex.pk):
            assert [a.slug for a in Application.objects.all()] == ["search"]
        assert [a.slug for a in Application.objects.all()] == ["chat"]


def test_it_refuses_a_row_that_points_into_another_tenant(two_tenants):
    acme, globex = two_tenants
    with fleet_scope():
        theirs = Application.objects.get(tenant=globex)
        key = ApiKey(
            tenant=acme,
            application=theirs,
            name="k",
            public_id="a" * 8,
            digest="b" * 64,
            traffic_class="batch",
        )
        with pytest.raises(IntegrityError), transaction.atomic():
            save_and_check(key)


def save_and_check(row):
    """Foreign keys are deferred to the commit, which a test never reaches."""
    row.save()
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
