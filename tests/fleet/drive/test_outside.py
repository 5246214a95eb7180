"""Connections of a process are kept, as long as they are to the same cluster by the same key."""

import pytest

from fleet.clients import vault
from fleet.drive.outside import connect
from tests.fleet.makers import make_cluster

pytestmark = pytest.mark.django_db


def sealed(settings, server: str) -> bytes:
    user, context = {"name": "u", "user": {"token": "t"}}, {"cluster": "c", "user": "u"}
    document = {
        "current-context": "x",
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [user],
        "contexts": [{"name": "x", "context": context}],
    }
    return vault.seal(settings.SECRET_KEY, document)


def test_it_opens_anew_only_when_the_access_was_changed(settings):
    cluster = make_cluster("east", credential=sealed(settings, "https://127.0.0.2:1"))
    first = connect(cluster)
    assert connect(cluster) is first
    cluster.credential = sealed(settings, "https://127.0.0.3:1")
    second = connect(cluster)
    assert second.kube.api.configuration.host == "https://127.0.0.3:1"
    other = make_cluster("west", credential=cluster.credential)
    assert connect(other) is not second
