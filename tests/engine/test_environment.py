"""The tiny model and the refusals of the real vLLM's installation; nothing is installed here."""

import json

import pytest

from sandbox.engines import tiny_model, vllm_env


def test_it_makes_the_same_model_each_time(tmp_path):
    tiny_model.write(tmp_path)
    before = tiny_model.digest()
    names = sorted(p.name for p in tmp_path.iterdir())
    assert names == ["config.json", "tokenizer.json", "tokenizer_config.json"]
    tiny_model.write(tmp_path)
    assert tiny_model.digest() == before


def test_it_has_a_token_for_every_byte():
    alphabet = tiny_model.byte_alphabet()
    assert len(set(alphabet)) == 256
    vocabulary = json.loads(tiny_model.files()["tokenizer.json"])["model"]["vocab"]
    assert set(alphabet) < set(vocabulary)
    assert sorted(vocabulary.values()) == list(range(259))


def test_it_says_what_is_missing_for_a_real_vllm(monkeypatch):
    monkeypatch.setattr(vllm_env, "MEMORY_GB", 10_000_000.0)
    with pytest.raises(vllm_env.Impossible, match="10000000 GB of memory.*QM_ENGINE=standin"):
        vllm_env.check()


def test_it_maps_the_path_of_the_model_in_the_image_table():
    entry = vllm_env.image_entry()
    assert list(entry["paths"]) == ["/models/tiny"]
    assert entry["append"][-2:] == ["--host", "{pod_ip}"]
