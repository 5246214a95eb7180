"""The scene of `scene.py`, made once a module: to make it takes longer than to test a page."""

from collections.abc import Iterator
from copy import deepcopy
from types import SimpleNamespace

import pytest
from django.db import connection, transaction
from django.test import override_settings
from django.utils import timezone

from fleet.models import Cluster, ObservedPod
from tenants.base.scope import fleet_scope
from tests.console.scene import make_scene
from tests.plugins.database import Seeds


@pytest.fixture(scope="module")
def furnished(django_db_setup, django_db_blocker, tmp_path_factory) -> Iterator[SimpleNamespace]:
    """Committed rows and the files of exports; both are taken away after the module."""
    exports = tmp_path_factory.mktemp("exports")
    with django_db_blocker.unblock(), override_settings(QM_EXPORTS_DIR=exports):
        seeds = Seeds()
        with transaction.atomic():
            made = make_scene(timezone.now())
        connection.close()
        yield made
        seeds.restore()
        connection.close()


@pytest.fixture
def scene(furnished: SimpleNamespace, db) -> SimpleNamespace:
    """A copy of its own for each test, whose changes to rows are rolled back."""
    now = timezone.now()
    with fleet_scope():  # no observer runs: without this the picture would age with the module
        Cluster.objects.filter(trouble="").update(observed_at=now)
        ObservedPod.objects.filter(cluster__trouble="").update(observed_at=now)
    return deepcopy(furnished)
