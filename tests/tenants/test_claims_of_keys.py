"""Repeats of a request whose door has no transaction around it: one at a time does the work."""

import threading
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from tenants.actions.idempotency import claim_key, keep_answer, let_go
from tenants.errors import Conflict
from tenants.models import IdempotencyRecord
from tests.tenants.conftest import make_person
from tests.tenants.rest import call

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def olga():
    return make_person("olga", "operator")


def test_of_two_at_once_one_does_the_work(olga):
    start, claims, refused = threading.Barrier(4), [], []

    def work():
        try:
            start.wait(10)
            claims.append(claim_key(olga.viewer, "once", "same"))
        except Conflict as refusal:
            refused.append(refusal.message)
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(claims) == 1 and len(refused) == 3
    assert "is not answered yet" in refused[0]
    keep_answer(claims[0], 201, {"id": 7})
    assert claim_key(olga.viewer, "once", "same").answer == (201, {"id": 7}, {})


def test_who_is_refused_or_killed_lets_the_next_do_it(olga):
    first = claim_key(olga.viewer, "once", "same")
    let_go(first)
    claim_key(olga.viewer, "once", "same")
    with pytest.raises(Conflict):
        claim_key(olga.viewer, "once", "same")
    IdempotencyRecord.objects.update(held_until=timezone.now() - timedelta(seconds=1))
    assert claim_key(olga.viewer, "once", "same").answer is None


def test_a_door_lets_go_of_what_it_refuses(olga):
    body = {"slug": "one", "name": "One", "region": "eu", "kubeconfig": "no kubeconfig"}
    for _ in range(2):
        answer = call(olga.client, "POST", "clusters", body, idempotency_key="k")
        assert answer.status_code == 422, answer.content
