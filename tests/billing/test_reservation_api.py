"""Reservations over the API: made, read with an ETag, ended with it, hidden from strangers."""

from datetime import UTC, datetime, timedelta

import pytest

pytestmark = pytest.mark.django_db

URL = "costs/reservations"


def hour(hours):
    at = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    return (at + timedelta(hours=hours)).isoformat()


def test_it_makes_reads_and_ends_one(finance, stranger, acme):
    body = {"tenant": "acme", "product": "H100", "gpus": 8, "starts_at": hour(-3), "why": "C1"}
    made = finance("post", URL, body, **{"Idempotency-Key": "one"})
    assert made.status_code == 201, made.content
    again = finance("post", URL, body, **{"Idempotency-Key": "one"})
    assert again.json() == made.json()
    at = f"{URL}/{made.json()['id']}"
    assert [r["gpus"] for r in finance.get(f"{URL}?tenant=acme")["results"]] == [8]
    assert stranger.get(URL)["results"] == []
    assert stranger("get", at).status_code == 404
    end = {"ends_at": hour(2), "why": "over"}
    assert finance("post", f"{at}/end", end).status_code == 428
    ended = finance("post", f"{at}/end", end, **{"If-Match": made["ETag"]})
    assert ended.status_code == 200, ended.content
    assert finance("post", f"{at}/end", end, **{"If-Match": made["ETag"]}).status_code == 412
    assert stranger("post", f"{at}/end", end, **{"If-Match": ended["ETag"]}).status_code in (
        403,
        404,
    )
    wrong = finance("post", URL, body | {"gpus": 0, "starts_at": "2026-11-01T00:30:00Z"})
    assert wrong.status_code == 422
    assert stranger("post", URL, body).status_code in (403, 404)
