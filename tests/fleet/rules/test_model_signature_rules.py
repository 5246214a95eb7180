"""What a model's signature says, and what it is worth for the files that are there."""

import copy
import json
from datetime import date

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from fleet.rules.artifacts import commits_apart
from fleet.rules.model_signature import (
    Statement,
    compared,
    is_beside,
    key_of,
    read_envelope,
    read_statement,
)
from fleet.rules.release import ModelPin
from fleet.rules.signature import Finding, Signed
from sandbox.registry.authority import b64
from sandbox.registry.model_signing import bundle_by_key, statement_of

KEY, OTHER = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
FILES = {"config.json": b"{}", "w.safetensors": b"w" * 9, "tokenizer.json": b"[]"}
IN_TOTO = "application/vnd.in-toto+json"
TODAY = date(2026, 3, 1)
BY = Finding(Signed.VERIFIED, "Signed with the key maker", "maker")


def public(key):
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def bundle(key=KEY, statement=None):
    return bundle_by_key(statement or statement_of("tiny", FILES), key)


def envelope(made):
    return read_envelope(json.dumps(made).encode())


KINDS = {
    "P-256": KEY,
    "P-384": ec.generate_private_key(ec.SECP384R1()),
    "P-521": ec.generate_private_key(ec.SECP521R1()),
    "Ed25519": Ed25519PrivateKey.generate(),
}


@pytest.mark.parametrize("kind", KINDS)
def test_it_takes_keys_of_all_kinds_that_sign_models(kind):
    key = KINDS[kind]
    keys = {"other": public(OTHER), "maker": public(key)}
    assert key_of(envelope(bundle(key)), keys, TODAY) == "maker"


def other_payload(made):
    said = statement_of("tiny", FILES | {"config.json": b"evil"})
    made["dsseEnvelope"]["payload"] = b64(json.dumps(said).encode())


def other_kind(made):
    made["dsseEnvelope"]["payloadType"] = "text/plain"


def unsigned(made):
    made["dsseEnvelope"]["signatures"] = []


def unnamed(made):
    del made["verificationMaterial"]["publicKey"]["hint"]


FORGED = {
    "a changed statement": (other_payload, {"maker": public(KEY)}, "the statement was changed"),
    "a changed kind": (other_kind, {"maker": public(KEY)}, "the statement was changed"),
    "no signature": (unsigned, {"maker": public(KEY)}, "the statement was changed"),
    "an unknown key": (lambda made: None, {"other": public(OTHER)}, ") that is none of other"),
    "a key without a name": (unnamed, {"other": public(OTHER)}, "a key that is none of other"),
    "no key at all": (lambda made: None, {"broken": "-----BEGIN no"}, "that is none of broken"),
    "a key that ended": (
        lambda made: None, {"maker": f"until: 2026-02-28\n{public(KEY)}"}, "until 2026-02-28"),
}  # fmt: skip


@pytest.mark.parametrize("case", FORGED)
def test_it_says_why_a_key_does_not_count(case):
    change, keys, words = FORGED[case]
    made = bundle()
    change(made)
    with pytest.raises(ValueError, match="it is by|did not sign") as refusal:
        key_of(envelope(made), keys, TODAY)
    assert words in str(refusal.value)


def test_a_key_counts_on_its_last_day():
    keys = {"maker": f"until: 2026-03-01\n{public(KEY)}"}
    assert key_of(envelope(bundle()), keys, TODAY) == "maker"


@pytest.mark.parametrize("raw", [b"", b"[]", b"{}", b'{"verificationMaterial": {}}', b"\xff"])
def test_it_reads_no_other_file_for_a_signature(raw):
    with pytest.raises(ValueError, match=r"model.sig is no bundle"):
        read_envelope(raw)


def said(**changes):
    document = copy.deepcopy(statement_of("tiny", FILES))
    for path, value in changes.items():
        here, *steps = document, *path.split("__")
        for step in steps[:-1]:
            here = here[int(step) if step.isdigit() else step]
        here[int(steps[-1]) if steps[-1].isdigit() else steps[-1]] = value
    return document


TWICE = said()["predicate"]["resources"][:1] * 2
STATEMENTS = {
    "of another type": (said(_type="https://in-toto.io/Statement/v0.1"), "statement of the kind"),
    "an attestation": (said(predicateType="https://slsa.dev/provenance/v1"), "no signature of a"),
    "of shards": (said(predicate__serialization__method="shards"), "sign whole files"),
    "by another hash": (said(predicate__resources__0__algorithm="blake3"), "sign with SHA-256"),
    "with another file": (said(predicate__resources__0__digest="0" * 64), "digest over all"),
    "that leaves a file out": (said(predicate__resources=TWICE[:1]), "digest over all"),
    "without resources": (said(predicate={}), "no list of files"),
    "of several models": (said(subject=[]), "digest over all"),
    "with no digest": (said(predicate__resources__0__digest="x"), "of config.json is none"),
    "of text": ([], "no list of files"),
}


@pytest.mark.parametrize("case", STATEMENTS)
def test_it_takes_no_other_statement(case):
    document, words = STATEMENTS[case]
    with pytest.raises(ValueError, match=r"^(it|its|the) ") as refusal:
        read_statement(IN_TOTO, json.dumps(document).encode())
    assert words in str(refusal.value)


def test_it_takes_no_other_payload():
    with pytest.raises(ValueError, match="of the kind text/plain"):
        read_statement("text/plain", b"{}")


def before(**annotations):
    files = read_statement(IN_TOTO, json.dumps(said()).encode()).files
    rows = [{"name": n, "digest": {"sha256": d}, **annotations} for n, d in files.items()]
    kind = "https://model_signing/Digests/v0.1"
    return {"_type": said()["_type"], "predicateType": kind, "subject": rows}


def test_it_reads_what_tools_signed_before_the_first_version():
    now = read_statement(IN_TOTO, json.dumps(said()).encode())
    then = read_statement(IN_TOTO, json.dumps(before()).encode())
    assert (now.name, then.name, then.files) == ("tiny", "", now.files)
    shards = before(annotations={"actual_hash_algorithm": "file-sha256-1000"})
    with pytest.raises(ValueError, match="sign whole files"):
        read_statement(IN_TOTO, json.dumps(shards).encode())
    twice = before() | {"subject": before()["subject"][:1] * 2}
    with pytest.raises(ValueError, match="twice"):
        read_statement(IN_TOTO, json.dumps(twice).encode())


A, B, C = "a" * 64, "b" * 64, "c" * 64
LIES = {
    "everything": ({"x": A, "y": B}, Signed.VERIFIED, "maker: all 2 files"),
    "what no engine reads": ({"x": A, "y": B, ".git/config": C, "model.sig": C},
                             Signed.VERIFIED, "all 2 files"),
    "a file more": ({"x": A, "y": B, "evil.py": C}, Signed.PARTIAL,
                    "covers 2 of 3 files and not evil.py"),
    "a file less": ({"x": A}, Signed.WRONG, "y was signed and is not there"),
    "another content": ({"x": A, "y": C}, Signed.WRONG, "y is not as signed"),
    "a content that nobody tells": ({"x": A, "y": ""}, Signed.PARTIAL, "and not y"),
    "another model": ({"z": C}, Signed.WRONG, "signs another model (tiny): none of its 2 files"),
    "nothing": ({}, Signed.WRONG, "signs another model"),
}  # fmt: skip


@pytest.mark.parametrize("case", LIES)
def test_it_compares_what_was_signed_with_what_lies_there(case):
    there, state, words = LIES[case]
    found = compared(BY, Statement("tiny", {"x": A, "y": B}), there)
    assert (found.state, words in found.why) == (state, True), found.why
    assert found.key == ("" if state is Signed.WRONG else "maker")


def test_it_names_a_few_files_and_keeps_all():
    more = {f"f{n}": C for n in range(9)}
    found = compared(BY, Statement("", {"x": A}), {"x": A} | more)
    assert "f0, f1, f2, f3, f4 and 4 more" in found.why
    assert found.outside == tuple(more)


FILES_OF = st.dictionaries(
    st.sampled_from(["a", "b", "c.py", ".gitignore", ".github/x", "model.sig"]),
    st.sampled_from([A, B, ""]),
)


@given(FILES_OF.map(lambda f: {k: v for k, v in f.items() if v}), FILES_OF)
def test_only_the_very_same_files_verify(signed, there):
    found = compared(BY, Statement("m", signed), there)
    ours = {p: d for p, d in there.items() if not is_beside(p)}
    same = ours and ours == {p: d for p, d in signed.items() if not is_beside(p)}
    assert (found.state is Signed.VERIFIED) is bool(same and all(ours.values()))
    assert set(found.covered) | set(found.outside) <= set(ours)


def test_it_knows_what_lies_at_another_commit_than_the_weights():
    code = [{"part": "code", "pinned": B}, {"part": "tokenizer", "pinned": C}]
    assert commits_apart(ModelPin("m", A), []) == []
    assert commits_apart(ModelPin("m", A, tokenizer_commit=A), []) == []
    assert commits_apart(ModelPin("m", A, tokenizer_commit=B), []) == [("tokenizer", B)]
    assert commits_apart(ModelPin("m", A), code) == [("code", B)]
    assert commits_apart(ModelPin("m", A, code_commit=C), code) == [("code", C)]
    assert commits_apart(ModelPin("m", B), code) == []
