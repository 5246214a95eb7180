"""The test database itself: who connects, and what a transactional test leaves."""

import pytest
from django.contrib.contenttypes.models import ContentType
from django.db import ProgrammingError, connection
from django.test.utils import CaptureQueriesContext

from tests.plugins.database import superuser


@pytest.mark.django_db
def test_it_connects_as_the_application_that_owns_nothing():
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_user")
        assert cursor.fetchone() == ("console_app",)
        # Temporary tables of ingest are the application's own, and end with their session.
        cursor.execute(
            "SELECT count(*) FROM pg_class"
            " WHERE relowner = 'console_app'::regrole AND relpersistence <> 't'"
        )
        assert cursor.fetchone() == (0,)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("turn", ["first", "second"])
def test_it_returns_to_the_rows_of_the_migrations_after_each_transactional_test(turn):
    assert ContentType.objects.exists()
    assert not ContentType.objects.filter(app_label="left").exists()
    ContentType.objects.create(app_label="left", model="behind")


@pytest.mark.django_db
def test_it_may_not_empty_a_table():
    with CaptureQueriesContext(connection), pytest.raises(ProgrammingError, match="denied"):
        connection.cursor().execute("TRUNCATE django_content_type")


@pytest.mark.django_db
def test_it_can_look_underneath_as_the_superuser():
    with superuser() as server:
        assert server.execute("SELECT current_user").fetchone() == ("postgres",)
