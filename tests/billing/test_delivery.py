"""Signed delivery: what is sent, what counts as taken, and where nothing is ever sent."""

import base64
import hashlib
import hmac
from datetime import UTC, datetime

import pytest

from billing.clients.delivery import (
    Message,
    key_of,
    make_secret,
    send,
)
from billing.clients.vault import Unreadable, seal, unseal, unseal_both
from tests.billing.receiver import receiver

NOW = datetime(2026, 11, 20, 12, 30, tzinfo=UTC)
SECRET = make_secret(bytes(range(32)))


@pytest.fixture
def door():
    with receiver() as server:
        yield server


def message(door, body=b'{"a": 1}', **changes):
    given = {
        "url": door.url,
        "key": "k-1",
        "secret": SECRET,
        "body": body,
        "content_type": "application/json",
    }
    return Message(**given | changes)


def signature(came):
    said = f"{came.headers['webhook-id']}.{came.headers['webhook-timestamp']}.".encode()
    digest = hmac.new(key_of(SECRET), said + came.body, hashlib.sha256).digest()
    return "v1," + base64.b64encode(digest).decode()


def test_it_signs_what_it_sends(door):
    answer = send(message(door, headers={"X-Rows": "3"}), now=NOW, allow_private=True)
    assert (answer.taken, answer.status) == (True, 204)
    (came,) = door.came
    assert (came.method, came.path, came.body) == ("POST", "/in", b'{"a": 1}')
    assert came.headers["webhook-signature"] == signature(came)
    assert came.headers["webhook-timestamp"] == str(int(NOW.timestamp()))
    assert came.headers["idempotency-key"] == came.headers["webhook-id"] == "k-1"
    assert came.headers["host"] == f"127.0.0.1:{door.server_port}"
    assert came.headers["x-rows"] == "3"


def test_a_secret_before_signs_beside_the_newest(door):
    before = make_secret(bytes(range(1, 33)))
    send(message(door, secret=before, previous=SECRET), now=NOW, allow_private=True)
    (came,) = door.came
    newest, _, older = came.headers["webhook-signature"].partition(" ")
    assert older == signature(came) != newest and newest.startswith("v1,")


def test_it_streams_a_file_with_its_length(door, tmp_path):
    file = tmp_path / "big.bin"
    file.write_bytes(bytes(range(256)) * 10_000)
    assert send(message(door, body=file, method="PUT"), now=NOW, allow_private=True).taken
    (came,) = door.came
    assert came.method == "PUT"
    assert came.body == file.read_bytes()
    assert "transfer-encoding" not in came.headers
    assert came.headers["webhook-signature"] == signature(came)


@pytest.mark.parametrize(
    ("status", "is_final"), [(500, False), (503, False), (429, False), (400, True), (404, True)]
)
def test_it_tells_what_another_try_may_heal(door, status, is_final):
    door.answers = [(status, {})]
    answer = send(message(door), now=NOW, allow_private=True)
    assert (answer.status, answer.is_final, answer.taken) == (status, is_final, False)
    assert str(status) in answer.why


def test_it_keeps_what_the_receiver_said(door):
    door.answers = [(418, {})]
    assert send(message(door), now=NOW, allow_private=True).why == "It answered 418: short"


def test_it_follows_no_redirect(door):
    door.answers = [(307, {"Location": "http://169.254.169.254/"})]
    answer = send(message(door), now=NOW, allow_private=True)
    assert answer.is_final and "leads elsewhere" in answer.why
    assert len(door.came) == 1


def test_it_says_that_nobody_answers(door):
    url = door.url
    door.shutdown()
    door.server_close()
    answer = send(message(door, url=url), now=NOW, allow_private=True)
    assert answer.status is None and not answer.is_final
    assert "Connect" in answer.why


def test_it_sends_nothing_to_this_machine_unless_allowed(door):
    answer = send(message(door, url=door.url.replace("http:", "https:")), now=NOW)
    assert answer.is_final and "not a public address" in answer.why
    assert door.came == []


def test_it_says_that_a_name_has_no_address():
    answer = send(Message("https://nothing.invalid/", "k", SECRET, b"", "text/plain"), now=NOW)
    assert answer.status is None and not answer.is_final
    assert "nothing.invalid has no address" in answer.why


def test_it_keeps_secrets_unreadable_without_the_key():
    sealed = seal("a key of thirty-two characters...", SECRET)
    assert SECRET.encode() not in sealed
    assert unseal("a key of thirty-two characters...", sealed) == SECRET
    with pytest.raises(Unreadable):
        unseal("another key", sealed)
    key = "a key of thirty-two characters..."
    assert unseal_both(key, sealed, sealed) == (SECRET, SECRET)
    assert unseal_both(key, sealed, seal("another key", SECRET)) == (SECRET,), "it was renewed then"
