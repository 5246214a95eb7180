"""Tags and branches resolved over real HTTP: asked once, kept, and never asked again."""

import json
import threading
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from fleet.actions import resolutions as actions
from fleet.actions.releases import create_release
from fleet.models import Resolution
from fleet.queries.releases import get_release
from fleet.rules.signature import Signature
from fleet.rules.signature import verify as verify_on
from sandbox.registry.content import Content, digest_of, payload_of
from sandbox.registry.server import Server
from tenants.base.scope import fleet_scope
from tenants.errors import Forbidden, Invalid, NotFound, Unavailable
from tenants.models import AuditEvent
from tests.fleet.makers import make_cluster, make_service

pytestmark = pytest.mark.django_db
KEY = ec.generate_private_key(ec.SECP256R1())
OTHER = ec.generate_private_key(ec.SECP256R1())
CONFIG = {
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "hidden_size": 4096,
    "max_position_embeddings": 8192,
    "torch_dtype": "bfloat16",
}


@pytest.fixture(autouse=True)
def scope(db):
    """As a door opens it around the actions."""
    with fleet_scope():
        yield


def public(key):
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


@pytest.fixture
def registry(settings):
    """A small registry as `hub.example`, also the model repository."""
    server = Server(Content())
    threading.Thread(target=server.serve_forever, daemon=True).start()
    settings.QM_REGISTRIES = {"hub.example": server.url}
    settings.QM_MODEL_HUB = server.url
    settings.QM_SIGNATURE_KEYS = {"builder": public(KEY)}
    yield server
    server.shutdown()
    server.server_close()


def resolve(viewer, reference="hub.example/vllm:0.32"):
    return actions.keep(viewer, actions.ask_image(viewer, reference))


def test_it_keeps_what_a_tag_meant_when_somebody_asked(registry, olga):
    digest = registry.content.put_image("vllm", "0.32", b'{"schemaVersion": 2, "layers": []}')
    found = resolve(olga.viewer)
    assert (found.name, found.label, found.pinned) == ("hub.example/vllm", "0.32", digest)
    assert found.asked_by_id == olga.viewer.user_id
    assert found.answer["url"] == f"{registry.url}/v2/vllm/manifests/0.32"
    assert AuditEvent.objects.get(verb="release.resolve").after["pinned"] == digest


def test_it_makes_a_release_offline_after_the_tag_has_moved(registry, olga):
    digest = registry.content.put_image("vllm", "0.32", b'{"schemaVersion": 2}')
    row = resolve(olga.viewer)
    registry.content.put_image("vllm", "0.32", b'{"schemaVersion": 2, "other": 1}')
    registry.shutdown()
    registry.asked.clear()
    release = make(olga.viewer, image=f"hub.example/vllm:0.32@{digest}")
    detail = get_release(olga.viewer, release.pk)
    assert detail.release.image_digest == digest
    assert (detail.image_resolution.id, detail.image_resolution.by) == (row.pk, olga.viewer.email)
    assert registry.asked == []


def make(viewer, **changes):
    service = make_service(cluster=make_cluster())
    model = {"name": "org/model", "commit": "a" * 40}
    return create_release(
        viewer, service.pk, **{"model": model, "image": "hub.example/vllm@" + "x"} | changes
    )


def test_it_fetches_a_token_where_the_registry_wants_one(registry, olga):
    registry.token = "let-me-read"
    digest = registry.content.put_image("team/vllm", "1", b'{"schemaVersion": 2}')
    assert resolve(olga.viewer, "hub.example/team/vllm:1").pinned == digest
    assert "/token" in registry.asked


def test_it_resolves_a_digest_to_itself(registry, olga):
    digest = registry.content.put_image("vllm", "1", b'{"schemaVersion": 2}')
    assert resolve(olga.viewer, f"hub.example/vllm@{digest}").pinned == digest


REFUSED = {
    "an unknown tag": ("hub.example/vllm:9", "hub.example has no hub.example/vllm:9"),
    "an unknown registry": ("169.254.169.254/latest:meta", "adds it to QM_REGISTRIES"),
    "no registry": ("vllm:1", "the registry's name comes first"),
    "no tag": ("hub.example/vllm", "names no tag"),
    "a way up": ("hub.example/a/../b:1", "not the name of a repository"),
    "a user": ("user:pw@hub.example/vllm:1", "the registry's name comes first"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_it_refuses_with_a_sentence(case, registry, olga):
    given, words = REFUSED[case]
    with pytest.raises(Invalid) as refusal:
        actions.ask_image(olga.viewer, given)
    assert words in refusal.value.fields["image"]
    assert Resolution.objects.count() == 0


def test_it_lets_no_stranger_ask(registry, vic, mallory):
    for person in (vic, mallory):
        with pytest.raises((Forbidden, NotFound)):
            actions.ask_image(person.viewer, "hub.example/vllm:1")
        with pytest.raises((Forbidden, NotFound)):
            actions.ask_model(person.viewer, "org/model", "main")
    assert registry.asked == []


class Liar(BaseHTTPRequestHandler):
    """Answers as its class says."""

    status, headers_sent, body = 200, {}, b"{}"

    def do_GET(self):
        self.send_response(self.status)
        for name, value in self.headers_sent.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *args):
        pass


@pytest.fixture
def liar(settings):
    """Give a server that answers what the test says; gives its address."""
    servers = []

    def start(**answer):
        handler = type("Told", (Liar,), answer)
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        url = f"http://127.0.0.1:{server.server_port}"
        settings.QM_REGISTRIES = {"hub.example": url}
        return url

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


LIES = {
    "another digest": (
        {"headers_sent": {"Docker-Content-Digest": "sha256:" + "0" * 64}}, Invalid, "and sends"),
    "a redirect inwards": (
        {"status": 302, "headers_sent": {"Location": "http://169.254.169.254/meta"}},
        Invalid, "169.254.169.254 is none of the addresses"),
    "a token from elsewhere": (
        {"status": 401, "headers_sent": {
            "WWW-Authenticate": 'Bearer realm="http://127.0.0.1:1/token"'}},
        Invalid, "127.0.0.1:1 is none of the addresses"),
    "far too much": ({"body": b" " * (5 * 1024 * 1024)}, Invalid, "more than 4,194,304 bytes"),
    "a page": ({"body": b"<html>"}, Invalid, "no JSON"),
    "trouble": ({"status": 503}, Unavailable, "answers 503: try again"),
    "a closed door": ({"status": 403}, Invalid, "does not show"),
}  # fmt: skip


@pytest.mark.parametrize("case", LIES)
def test_it_believes_no_registry(case, liar, olga):
    answer, kind, words = LIES[case]
    liar(**answer)
    with pytest.raises(kind, match=words):
        actions.ask_image(olga.viewer, "hub.example/vllm:1")


def test_it_goes_round_in_no_circle(liar, olga):
    url = liar(status=307, headers_sent={"Location": "/v2/again"})
    with pytest.raises(Invalid, match="more than 3 times"):
        actions.ask_image(olga.viewer, "hub.example/vllm:1")
    assert url


def test_it_tells_that_nobody_answers(settings, olga):
    settings.QM_REGISTRIES = {"hub.example": "http://127.0.0.1:1"}
    with pytest.raises(Unavailable, match="127.0.0.1:1"):
        actions.ask_image(olga.viewer, "hub.example/vllm:1")


def test_it_resolves_a_branch_of_a_model(registry, olga):
    files = {"config.json": json.dumps(CONFIG).encode(), "w.safetensors": b"w" * 100}
    commit = registry.content.put_model("org/model", "main", files)
    found = actions.keep(olga.viewer, actions.ask_model(olga.viewer, "org/model", "main"))
    assert (found.label, found.pinned) == ("main", commit)
    assert found.answer["weights"] == 100
    assert found.shape["positions"] == 8192
    assert found.shape["head_size"] == 128


def test_it_refuses_a_context_that_the_resolved_model_does_not_have(registry, olga):
    files = {"config.json": json.dumps(CONFIG).encode()}
    commit = registry.content.put_model("org/model", "main", files)
    actions.keep(olga.viewer, actions.ask_model(olga.viewer, "org/model", "main"))
    with pytest.raises(Invalid) as refusal:
        make(
            olga.viewer,
            model={"name": "org/model", "commit": commit},
            image="hub.example/vllm@sha256:" + "d" * 64,
            arguments=["--max-model-len=16384"],
        )
    assert "more than the 8,192 positions" in refusal.value.fields["arguments"]


def test_it_says_that_a_model_or_branch_is_not_there(registry, settings, olga):
    with pytest.raises(Invalid, match="has no org/model at main"):
        actions.ask_model(olga.viewer, "org/model", "main")
    with pytest.raises(Invalid, match="a path cannot be resolved"):
        actions.ask_model(olga.viewer, "/models/tiny", "main")
    with pytest.raises(Invalid, match="not a branch"):
        actions.ask_model(olga.viewer, "org/model", "a..b")
    settings.QM_MODEL_HUB = ""
    with pytest.raises(Invalid, match="QM_MODEL_HUB"):
        actions.ask_model(olga.viewer, "org/model", "main")


def test_it_records_who_signed_an_image(registry, olga):
    digest = registry.content.put_image("vllm", "0.32", b'{"schemaVersion": 2}')
    assert resolve(olga.viewer).signature["state"] == "unsigned"
    registry.content.sign("hub.example/vllm", digest, OTHER)  # under another repository
    registry.content.sign("vllm", digest, OTHER)
    assert resolve(olga.viewer).signature["state"] == "wrong"
    registry.content.sign("vllm", digest, KEY)
    found = resolve(olga.viewer).signature
    assert found == {
        "state": "verified",
        "why": "Signed with the key builder",
        "key": "builder",
    }


def test_it_enforces_signatures_where_the_policy_says_so(registry, settings, olga):
    settings.QM_SIGNATURES = {"": "off", "east": "enforce"}
    digest = registry.content.put_image("vllm", "0.32", b'{"schemaVersion": 2}')
    image = f"hub.example/vllm:0.32@{digest}"
    service = make_service(cluster=make_cluster())
    model = {"name": "org/model", "commit": "a" * 40}
    with pytest.raises(Invalid, match="press Resolve"):
        create_release(olga.viewer, service.pk, model=model, image=image)
    resolve(olga.viewer)
    with pytest.raises(Invalid, match="The registry has no signature"):
        create_release(olga.viewer, service.pk, model=model, image=image)
    registry.content.sign("vllm", digest, KEY)
    resolve(olga.viewer)
    release = create_release(olga.viewer, service.pk, model=model, image=image)
    assert get_release(olga.viewer, release.pk).signature.state == "verified"


def verify(digest, signatures, keys, today=date(2026, 3, 1)):
    return verify_on(digest, signatures, keys, today=today)


def signed(payload, key=KEY):
    content = Content()
    content.sign("vllm", "sha256:" + "d" * 64, key)
    (layer,) = json.loads(next(iter(content.manifests.values()))[1])["layers"]
    return Signature(payload, layer["annotations"]["dev.cosignproject.cosign/signature"])


DIGEST = "sha256:" + "d" * 64
GOOD = payload_of("vllm", DIGEST)
FORGED = {
    "another image": (payload_of("vllm", "sha256:" + "e" * 64), "of another image"),
    "another kind": (GOOD.replace(b"cosign container", b"notary container"), "of the kind"),
    "no payload": (b"[]", "none of cosign's"),
    "another repository": (GOOD.replace(b"vllm", b"evil"), "none of the keys"),
}


@pytest.mark.parametrize("case", FORGED)
def test_it_believes_no_signature_of_something_else(case):
    payload, words = FORGED[case]
    found = verify(DIGEST, [signed(payload)], {"builder": public(KEY)})
    assert (found.state, words in found.why) == ("wrong", True)


def test_it_takes_p256_keys_only():
    wide = ec.generate_private_key(ec.SECP384R1())
    for pem in (public(wide), "no key"):
        assert verify(DIGEST, [signed(GOOD, wide)], {"builder": pem}).state == "wrong"
    assert verify(DIGEST, [signed(GOOD)], {"builder": public(KEY)}).state == "verified"
    assert verify(DIGEST, [signed(GOOD)], {}).state == "unchecked"
    assert digest_of(GOOD).startswith("sha256:")


def test_it_takes_a_key_until_its_last_day():
    keys = {"builder": "until: 2026-03-01\n" + public(KEY)}
    assert verify(DIGEST, [signed(GOOD)], keys).state == "verified"
    found = verify(DIGEST, [signed(GOOD)], keys, date(2026, 3, 2))
    assert (found.state, "which counted until 2026-03-01" in found.why) == ("wrong", True)


def test_it_judges_again_what_it_kept_and_asks_nobody(registry, settings, olga):
    digest = registry.content.put_image("vllm", "0.32", b'{"schemaVersion": 2}')
    registry.content.sign("vllm", digest, KEY)
    first = resolve(olga.viewer)
    registry.asked.clear()
    assert actions.check_again(olga.viewer, first.pk).signature == first.signature
    settings.QM_SIGNATURE_KEYS = {"other": public(OTHER)}
    again = actions.check_again(olga.viewer, first.pk)
    assert (again.pinned, again.signature["state"]) == (digest, "wrong")
    assert registry.asked == []
    event = AuditEvent.objects.filter(verb="release.check_signature").latest("id")
    assert "evidence" not in event.after
    assert Resolution.objects.get(pk=first.pk).signature["state"] == "verified"
