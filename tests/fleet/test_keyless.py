"""Keyless signatures over real HTTP and offline: one bundle for each check that can fail."""

import base64
import copy
import json
import threading
from datetime import UTC, datetime, timedelta

import pytest

from fleet.actions import resolutions as actions
from fleet.actions.releases import create_release
from fleet.clients.errors import Permanent
from fleet.clients.keyless import Keyless
from fleet.queries.releases import get_release
from fleet.rules.keyless import Signer, read_signers, refuse_signer, refuse_statement
from sandbox.registry.authority import Authority, b64, compact, new_key, sign
from sandbox.registry.content import Content
from sandbox.registry.server import Server
from tenants.base.scope import fleet_scope
from tenants.errors import Invalid
from tests.fleet.makers import make_cluster, make_service

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
US = Authority(NOW - timedelta(days=1))
THEM = Authority(NOW - timedelta(days=1))
ISSUER, BUILD = "https://issuer.example", "https://ci.example/vllm/build.yml@refs/heads/main"
DIGEST = "sha256:" + "d" * 64


def bundle(authority=US, digest=DIGEST, identity=BUILD, at=NOW, **more):
    return authority.bundle(digest, identity, ISSUER, at, **more)


@pytest.fixture
def root(tmp_path):
    path = tmp_path / "trusted_root.json"
    path.write_text(json.dumps(US.trusted_root()))
    return path


def changed(made, *path, to):
    """The bundle with one value exchanged."""
    made = copy.deepcopy(made)
    here = made
    for step in path[:-1]:
        here = here[step]
    here[path[-1]] = to(here[path[-1]]) if callable(to) else to
    return made


ENTRY = ("verificationMaterial", "tlogEntries", 0)
PAYLOAD = ("dsseEnvelope", "payload")


def mixed(**keys):
    """An authority of ours of which one key is another one's."""
    return Authority(US.at, **({"ca": US.ca, "certificates": US.certificates,
                                "signatures": US.signatures} | keys))  # fmt: skip


def expired():
    """The log saw the signature an hour after the certificate had ended."""
    made = bundle()
    entry = made["verificationMaterial"]["tlogEntries"][0]
    later = int((NOW + timedelta(hours=1)).timestamp())
    promised = {
        "body": entry["canonicalizedBody"],
        "integratedTime": later,
        "logID": base64.b64decode(entry["logId"]["keyId"]).hex(),
        "logIndex": 1,
    }
    made = changed(made, *ENTRY, "integratedTime", to=str(later))
    promise = b64(sign(US.signatures, compact(promised)))
    return changed(made, *ENTRY, "inclusionPromise", "signedEntryTimestamp", to=promise)


def shifted(text):
    raw = bytearray(base64.b64decode(text))
    raw[-1] ^= 1
    return b64(bytes(raw))


FORGED = {
    "another authority": (lambda: bundle(mixed(ca=new_key())), "no authority of the trust root"),
    "a certificate outside of the log": (
        lambda: bundle(mixed(certificates=new_key())), "no log of certificates"),
    "another log": (lambda: bundle(mixed(signatures=new_key())), "no log that the trust root"),
    "an expired certificate": (expired, "was not valid when it was signed"),
    "no promise": (
        lambda: changed(bundle(), *ENTRY, "inclusionPromise", to=None),
        "must contain an inclusion promise or signed timestamp"),
    "a moved promise": (
        lambda: changed(bundle(), *ENTRY, "integratedTime", to=lambda t: str(int(t) + 1)),
        "did not promise its entry"),
    "another tree": (
        lambda: changed(bundle(), *ENTRY, "inclusionProof", "hashes", 0, to=shifted),
        "not in the tree that it is proved by"),
    "another statement": (
        lambda: changed(bundle(), *PAYLOAD, to=bundle(digest="sha256:" + "e" * 64)
                        ["dsseEnvelope"]["payload"]), "key did not sign it"),
    "an entry of another signature": (
        lambda: changed(bundle(), *ENTRY, to=bundle()["verificationMaterial"]["tlogEntries"][0]),
        "entry is of another signature"),
    "no bundle": (lambda: {"mediaType": "application/json"}, "no bundle that can be read"),
    "no proof": (
        lambda: changed(bundle(), *ENTRY, "inclusionProof", to=None), "no bundle that can be read"),
}  # fmt: skip


@pytest.mark.parametrize("case", FORGED)
def test_it_says_which_check_failed(case, root):
    make, words = FORGED[case]
    with pytest.raises(Permanent) as refusal:
        Keyless(root).verify(json.dumps(make()).encode())
    assert words in refusal.value.message


def test_it_verifies_offline_who_signed_and_when_the_log_saw_it(root):
    found = Keyless(root).verify(json.dumps(bundle()).encode())
    assert (found.issuer, found.identities) == (ISSUER, (BUILD,))
    assert (found.log_index, found.logged_at) == (1, "2026-03-01T12:00:00+00:00")
    assert refuse_statement(found.payload_type, found.payload, DIGEST) == ""


def test_it_reads_the_identity_of_a_person(root):
    found = Keyless(root).verify(json.dumps(bundle(identity="olga@example.test")).encode())
    assert found.identities == ("olga@example.test",)


def test_it_refuses_a_trust_root_that_it_cannot_read(tmp_path):
    (tmp_path / "root.json").write_text("{}")
    for name in ("root.json", "nothing.json"):
        with pytest.raises(Permanent, match="QM_SIGSTORE_ROOT"):
            Keyless(tmp_path / name)


def test_it_takes_only_identities_that_may_sign():
    signers = (Signer(ISSUER, "https://ci.example/vllm/*"),)
    assert refuse_signer(signers, ISSUER, [BUILD]) == ""
    for issuer, identity in (
        ("https://other.example", BUILD),
        (ISSUER, "https://ci.example/evil/build.yml"),
        (ISSUER, "x" + BUILD),
    ):
        assert "QM_SIGNERS" in refuse_signer(signers, issuer, [identity])
    assert "nobody" in refuse_signer(signers, ISSUER, [])


STATEMENTS = {
    "of another kind": ("text/plain", b"{}", "payload of the kind text/plain"),
    "without a subject": ("application/vnd.in-toto+json", b"{}", "no statement"),
    "an attestation": (
        "application/vnd.in-toto+json",
        b'{"predicateType": "https://slsa.dev/provenance/v1", "subject": []}', "no signature"),
    "of nothing": (
        "application/vnd.in-toto+json",
        b'{"predicateType": "https://sigstore.dev/cosign/sign/v1", "subject": []}', "another"),
}  # fmt: skip


@pytest.mark.parametrize("case", STATEMENTS)
def test_it_takes_no_other_statement_for_a_signature(case):
    kind, payload, words = STATEMENTS[case]
    assert words in refuse_statement(kind, payload, DIGEST)


SIGNERS = {
    "nothing": ([], "no signer"),
    "no identity": ([{"issuer": ISSUER}], "no issuer and identity"),
    "everybody": ([{"issuer": ISSUER, "identity": "*"}], "would let everybody"),
}


@pytest.mark.parametrize("case", SIGNERS)
def test_it_refuses_signers_that_are_not_named(case):
    given, words = SIGNERS[case]
    with pytest.raises(ValueError, match=words):
        read_signers(given)


@pytest.fixture
def registry(settings, root, db):
    server = Server(Content())
    threading.Thread(target=server.serve_forever, daemon=True).start()
    settings.QM_REGISTRIES = {"hub.example": server.url}
    settings.QM_SIGSTORE_ROOT, settings.QM_SIGNERS = root, (Signer(ISSUER, BUILD),)
    with fleet_scope():
        yield server
    server.shutdown()
    server.server_close()


def resolve(viewer):
    return actions.keep(viewer, actions.ask_image(viewer, "hub.example/vllm:1")).signature


def test_it_records_who_signed_an_image_without_a_key(registry, olga):
    digest = registry.content.put_image("vllm", "1", b'{"schemaVersion": 2}')
    assert resolve(olga.viewer)["state"] == "unsigned"
    registry.content.attach("vllm", digest, bundle(THEM, digest))
    registry.content.attach("vllm", digest, bundle(digest=digest, identity="mallory@example.test"))
    registry.content.attach("vllm", digest, bundle(digest=DIGEST))
    wrong = resolve(olga.viewer)
    assert (wrong["state"], wrong["why"][:31]) == ("wrong", "3 keyless signatures, and none ")
    for words in ("no authority", "mallory@example.test, known to", "another image"):
        assert words in wrong["why"]
    registry.content.attach("vllm", digest, bundle(digest=digest))
    found = resolve(olga.viewer)
    assert (found["state"], found["identity"], found["issuer"]) == ("verified", BUILD, ISSUER)
    assert found["logged"] == "entry 1 of 2026-03-01T12:00:00+00:00"


def test_it_finds_bundles_by_the_tag_where_a_registry_has_no_referrers(registry, olga):
    content = registry.content
    digest = content.put_image("vllm", "1", b'{"schemaVersion": 2}')
    content.attach("vllm", digest, bundle(digest=digest))
    rows = content.referrers.pop(("vllm", digest))
    index = json.dumps({"schemaVersion": 2, "manifests": rows}).encode()
    content.put_image("vllm", digest.replace(":", "-"), index)
    content.referrers = None  # the small registry has no such API then
    assert resolve(olga.viewer)["state"] == "verified"


@pytest.mark.parametrize("policy", ["off", "warn", "enforce"])
def test_it_follows_the_policy_for_keyless_signatures(policy, registry, settings, olga):
    settings.QM_SIGNATURES = {"": policy}
    digest = registry.content.put_image("vllm", "1", b'{"schemaVersion": 2}')
    registry.content.attach("vllm", digest, bundle(THEM, digest))
    resolve(olga.viewer)
    service = make_service(cluster=make_cluster())
    model = {"name": "org/model", "commit": "a" * 40}
    wanted = {"model": model, "image": f"hub.example/vllm@{digest}"}
    if policy == "enforce":
        with pytest.raises(Invalid) as refusal:
            create_release(olga.viewer, service.pk, **wanted)
        told = refusal.value.fields["image"]
        assert "no authority of the trust root" in told
        assert told.endswith("sign the image, then resolve it again")
        return
    release = create_release(olga.viewer, service.pk, **wanted)
    signature = get_release(olga.viewer, release.pk).signature
    assert (signature.policy, signature.state) == (policy, "wrong")
