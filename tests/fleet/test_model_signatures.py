"""Models that are signed, over real HTTP: tampered with in every way, enforced, judged again."""

import json
import threading
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from fleet.actions import resolutions as actions
from fleet.actions.releases import create_release
from fleet.actions.rollouts import propose_rollout
from fleet.models import Resolution
from fleet.queries.releases import get_release
from fleet.queries.resolutions import signature_warnings
from fleet.rules.keyless import Signer
from sandbox.registry.authority import Authority
from sandbox.registry.content import Content
from sandbox.registry.model_signing import bundle_by_key, statement_of
from sandbox.registry.server import Server
from tenants.base.scope import fleet_scope
from tenants.errors import Conflict, Invalid
from tests.fleet.makers import make_cluster, make_service
from tests.fleet.rules.test_model_signature_rules import KEY, OTHER, public

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
US, THEM = (Authority(NOW - timedelta(days=1)) for _ in range(2))
ISSUER, MAKER = "https://issuer.example", "https://ci.example/models/train.yml@refs/heads/main"
FILES = {
    "config.json": b'{"architectures": ["X"]}',
    "tokenizer.json": b'{"model": {}}',
    "w.safetensors": b"w" * 64,
}
IMAGE = "hub.example/vllm@sha256:" + "d" * 64


@pytest.fixture(autouse=True)
def scope(db):
    with fleet_scope():
        yield


@pytest.fixture
def registry(settings, tmp_path):
    root = tmp_path / "trusted_root.json"
    root.write_text(json.dumps(US.trusted_root()))
    server = Server(Content())
    threading.Thread(target=server.serve_forever, daemon=True).start()
    settings.QM_REGISTRIES = {"hub.example": server.url}
    settings.QM_MODEL_HUB, settings.QM_SIGSTORE_ROOT = server.url, root
    settings.QM_MODEL_SIGNATURE_KEYS = {"maker": public(KEY)}
    settings.QM_MODEL_SIGNERS = (Signer(ISSUER, MAKER),)
    yield server
    server.shutdown()
    server.server_close()


def resolve(viewer, name="org/model", revision="main"):
    return actions.keep(viewer, actions.ask_model(viewer, name, revision))


def by_key(key=KEY, files=FILES):
    return bundle_by_key(statement_of("model", files), key)


def keyless(authority=US, identity=MAKER, files=FILES):
    return authority.bundle_of(statement_of("model", files), identity, ISSUER, NOW)


def put(registry, signature=None, files=FILES, name="org/model"):
    signed = {} if signature is None else {"model.sig": json.dumps(signature).encode()}
    return registry.content.put_model(name, "main", files | signed)


def evil(**changes):
    return FILES | {name.replace("_", "."): body for name, body in changes.items()}


SEEN = {
    "by a key": (by_key(), FILES, "verified", "Signed with the key maker: all 3 files"),
    "keyless": (keyless(), FILES, "verified", f"Signed by {MAKER}, known to {ISSUER}: all 3"),
    "not at all": (None, FILES, "unsigned", "No signature (model.sig) lies beside the weights"),
    "changed weights": (
        by_key(), evil(w_safetensors=b"x" * 64), "wrong", "w.safetensors is not as signed"),
    "a changed small file": (
        by_key(), evil(tokenizer_json=b"{}"), "wrong", "tokenizer.json is not as signed"),
    "a missing file": (by_key(files=evil(more_json=b"1")), FILES, "wrong",
                       "more.json was signed and is not there"),
    "a file that nobody signed": (by_key(), evil(custom_py=b"import os"), "partial",
                                  "covers 3 of 4 files and not custom.py"),
    "of another model": (keyless(files={"other.safetensors": b"o"}), FILES, "wrong",
                         "it signs another model (model)"),
    "by an unknown key": (by_key(OTHER), FILES, "wrong", "that is none of maker"),
    "by an unknown authority": (keyless(THEM), FILES, "wrong", "no authority of the trust root"),
    "by somebody else": (keyless(identity="https://ci.example/evil.yml"), FILES, "wrong",
                         "may not sign models here: an operator adds the identity to"
                         " QM_MODEL_SIGNERS"),
    "as an image is": (US.bundle("sha256:" + "d" * 64, MAKER, ISSUER, NOW), FILES, "wrong",
                       "https://sigstore.dev/cosign/sign/v1, which is no signature of a model"),
}  # fmt: skip


@pytest.mark.parametrize("case", SEEN)
def test_it_records_what_a_signature_of_a_model_is_worth(case, registry, olga):
    signature, files, state, words = SEEN[case]
    put(registry, signature, files)
    found = resolve(olga.viewer).signature
    assert (found["state"], words in found["why"]) == (state, True), found


def test_it_records_who_signed_and_which_files(registry, olga):
    put(registry, keyless())
    found = resolve(olga.viewer).signature
    assert (found["identity"], found["issuer"]) == (MAKER, ISSUER)
    assert found["logged"] == "entry 1 of 2026-03-01T12:00:00+00:00"
    assert found["covered"] == sorted(FILES)
    put(registry, by_key(), evil(custom_py=b"import os"))
    found = resolve(olga.viewer).signature
    assert (found["key"], found["outside"]) == ("maker", ["custom.py"])


def test_it_believes_no_repository_that_sends_another_file_than_its_commit_has(registry, olga):
    commit = put(registry, by_key(files=evil(tokenizer_json=b"evil")))
    registry.content.files["org/model", commit, "tokenizer.json"] = b"evil"
    with pytest.raises(Invalid, match=r"sends another tokenizer\.json than"):
        resolve(olga.viewer)


def test_a_file_whose_content_nobody_tells_is_not_covered(registry, olga):
    commit = put(registry, by_key())
    (config,) = (
        f for f in registry.content.revisions["org/model", commit]["siblings"]
        if f["rfilename"] == "config.json"
    )  # fmt: skip
    del config["blobId"]
    found = resolve(olga.viewer).signature
    assert (found["state"], found["outside"]) == ("partial", ["config.json"])
    config["blobId"] = "f" * 40
    del registry.content.files["org/model", commit, "config.json"]
    assert resolve(olga.viewer).signature["outside"] == ["config.json"]


def test_it_reads_no_more_files_where_nothing_is_checked(registry, settings, olga):
    settings.QM_MODEL_SIGNATURE_KEYS, settings.QM_MODEL_SIGNERS = {}, ()
    put(registry, by_key())
    row = resolve(olga.viewer)
    assert (row.signature["state"], row.evidence) == ("unchecked", {})
    assert not any(path.endswith("model.sig") for path in registry.asked)
    with pytest.raises(Conflict, match="resolve it again"):
        actions.check_again(olga.viewer, row.pk)


def test_it_judges_again_offline(registry, settings, olga):
    put(registry, by_key())
    row = resolve(olga.viewer)
    registry.asked.clear()
    assert actions.check_again(olga.viewer, row.pk).signature == row.signature
    settings.QM_MODEL_SIGNATURE_KEYS = {"maker": "until: 2026-01-01\n" + public(KEY)}
    again = actions.check_again(olga.viewer, row.pk)
    assert "which counted until 2026-01-01" in again.signature["why"]
    settings.QM_MODEL_SIGNATURE_KEYS = {}
    again = actions.check_again(olga.viewer, again.pk)
    assert "QM_MODEL_SIGNATURE_KEYS has none" in again.signature["why"]
    assert registry.asked == []


def test_an_artifact_is_signed_as_an_image_is_or_beside_its_weights(registry, settings, olga):
    content = registry.content
    digest = content.put_artifact("models/tiny", "1", FILES)
    assert resolve(olga.viewer, "hub.example/models/tiny", "1").signature["state"] == "unsigned"
    content.attach("models/tiny", digest, US.bundle(digest, MAKER, ISSUER, NOW))
    row = resolve(olga.viewer, "hub.example/models/tiny", "1")
    assert (row.signature["state"], row.signature["covered"]) == ("verified", sorted(FILES))
    assert actions.check_again(olga.viewer, row.pk).signature == row.signature
    content.put_artifact("models/tiny", "2", FILES | {"model.sig": json.dumps(by_key()).encode()})
    found = resolve(olga.viewer, "hub.example/models/tiny", "2").signature
    assert (found["state"], found["key"]) == ("verified", "maker")
    content.sign("models/tiny", content.put_artifact("models/tiny", "3", {"a": b"b"}), KEY)
    assert resolve(olga.viewer, "hub.example/models/tiny", "3").signature["key"] == "maker"


def make(viewer, commit, cluster=None, **model):
    service = make_service(cluster=cluster or make_cluster())
    named = {"name": "org/model", "commit": commit} | model
    return create_release(viewer, service.pk, model=named, image=IMAGE)


REFUSED = {
    "nobody resolved it": (False, by_key(), FILES, "nobody has resolved org/model at"),
    "unsigned": (True, None, FILES, "lies beside the weights: sign the model"),
    "a file that nobody signed": (True, by_key(), evil(custom_py=b"1"), "and not custom.py: sign"),
    "changed": (True, by_key(), evil(w_safetensors=b"x"), "w.safetensors is not as signed"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_it_enforces_signatures_of_models(case, registry, settings, olga):
    asked, signature, files, words = REFUSED[case]
    settings.QM_MODEL_SIGNATURES = {"": "off", "east": "enforce"}
    commit = put(registry, signature, files)
    if asked:
        resolve(olga.viewer)
    with pytest.raises(Invalid) as refusal:
        make(olga.viewer, commit)
    assert refusal.value.fields["model"].startswith("Signatures of models are enforced here")
    assert words in refusal.value.fields["model"]


def test_it_lets_a_signed_model_pass_and_refuses_the_rollout_when_it_no_longer_is(
    registry, settings, olga
):
    settings.QM_MODEL_SIGNATURES = {"": "enforce"}
    commit = put(registry, by_key())
    row = resolve(olga.viewer)
    release = make(olga.viewer, commit)
    detail = get_release(olga.viewer, release.pk).model_signature
    assert (detail.policy, detail.state) == ("enforce", "verified")
    settings.QM_MODEL_SIGNATURE_KEYS = {"other": public(ec.generate_private_key(ec.SECP256R1()))}
    actions.check_again(olga.viewer, row.pk)
    with pytest.raises(Conflict, match="Signatures of models are enforced here"):
        propose_rollout(olga.viewer, release.service_id, release.pk)


def test_parts_at_another_commit_have_to_be_signed_there(registry, settings, olga):
    settings.QM_MODEL_SIGNATURES = {"": "enforce"}
    commit, cluster = put(registry, by_key()), make_cluster()
    other = {"tokenizer.json": b"other"}
    apart = put(registry, name="org/words", files=other)
    resolve(olga.viewer)
    resolve(olga.viewer, "org/words")
    with pytest.raises(Invalid, match="tokenizer at") as refusal:
        make(olga.viewer, commit, cluster, tokenizer_commit=apart)
    assert "resolve that commit as a model too" in refusal.value.fields["model"]
    put(registry, by_key(files=other), name="org/words", files=other)
    resolve(olga.viewer, "org/words")
    service = make_service("other", cluster=cluster)
    named = {"name": "org/model", "commit": commit, "tokenizer_commit": apart}
    assert create_release(olga.viewer, service.pk, model=named, image=IMAGE)


def test_it_warns_on_the_plan_and_in_the_api(registry, settings, olga):
    settings.QM_MODEL_SIGNATURES = {"": "warn"}
    commit = put(registry, by_key(), evil(custom_py=b"1"))
    row = resolve(olga.viewer)
    release = make(olga.viewer, commit)
    (warning,) = signature_warnings(release)
    assert warning.startswith("The model is not known to be signed. Signed with the key maker,")
    detail = olga.client.get(f"/api/v1/releases/{release.pk}").json()
    assert detail["model_signature"]["state"] == "partial"
    assert detail["model_resolution"]["signature"]["outside"] == ["custom.py"]
    assert "evidence" not in detail["model_resolution"]
    page = olga.client.get(f"/releases/{release.pk}/").content.decode()
    assert "Not every file signed" in page
    assert "Not signed: custom.py" in page
    url = f"/api/v1/resolutions/{row.pk}/check-signature"
    again = olga.client.post(url, content_type="application/json")
    assert (again.status_code, again.json()["signature"]) == (201, row.signature)
    assert Resolution.objects.count() == 2
    answer = olga.client.post(f"/releases/{release.pk}/check-signature/{row.pk}/", follow=True)
    assert "org/model is judged again: Signed with the key maker" in answer.content.decode()


def test_it_judges_the_newest_evidence_again(registry, olga):
    put(registry)
    first = resolve(olga.viewer)
    put(registry, by_key())
    assert resolve(olga.viewer).pinned == first.pinned
    assert actions.check_again(olga.viewer, first.pk).signature["state"] == "verified"


def test_no_policy_of_images_reaches_models(registry, settings, olga):
    settings.QM_SIGNATURES = {"": "warn"}
    commit = put(registry)
    resolve(olga.viewer)
    release = make(olga.viewer, commit)
    assert [w for w in signature_warnings(release) if "model" in w] == []
    assert get_release(olga.viewer, release.pk).model_signature.policy == "off"
