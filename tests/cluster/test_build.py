"""Finding Go and building the control plane; nothing is compiled here."""

import os
import subprocess
from pathlib import Path

import pytest

from sandbox import bootstrap
from sandbox.controlplane import build, toolchain


def make_go(folder: Path, version: str) -> Path:
    go = folder / "go"
    folder.mkdir(parents=True, exist_ok=True)
    go.write_text(f"#!/bin/sh\necho go version {version} linux/amd64\n")
    go.chmod(0o755)
    return go


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    bootstrap.cache().mkdir()
    return bootstrap.cache()


@pytest.mark.parametrize(
    ("said", "want"), [("go1.26.8", (1, 26)), ("go1.27", (1, 27)), ("gibberish", (0, 0))]
)
def test_it_reads_the_version_of_a_toolchain(tmp_path: Path, said: str, want: tuple[int, int]):
    assert toolchain.go_version(make_go(tmp_path, said)) == want


def test_it_takes_the_first_go_that_is_new_enough(tmp_path, monkeypatch):
    old, new = make_go(tmp_path / "a", "go1.20"), make_go(tmp_path / "b", "go1.26.1")
    monkeypatch.setattr(toolchain, "_candidates", lambda: iter([tmp_path / "none", old, new]))
    assert toolchain.find_go() == new


def test_it_says_what_to_do_without_go(empty_cache, tmp_path, monkeypatch):
    def no_uv() -> Path:
        raise subprocess.CalledProcessError(1, "uv", stderr="no network")

    monkeypatch.setattr(toolchain, "_candidates", lambda: iter([make_go(tmp_path, "go1.20")]))
    monkeypatch.setattr(bootstrap, "uv", no_uv)
    with pytest.raises(build.BuildFailed, match="no network.*Install Go 1.26.*KUBECONFIG"):
        build.ensure()


def test_it_refuses_to_build_without_room(empty_cache, monkeypatch):
    monkeypatch.setattr(build, "DISK_NEEDED", 2**60)
    with pytest.raises(build.BuildFailed, match="needs .* GB in .*XDG_CACHE_HOME"):
        build.ensure()


def test_it_builds_nothing_when_all_is_there(empty_cache):
    build.bin_dir().mkdir(parents=True)
    for name in build.BINARIES:
        (build.bin_dir() / name).touch()
    lines: list[tuple[str, float]] = []
    assert build.ensure(lambda stage, percent, _e, _t: lines.append((stage, percent)))
    assert lines == [("controlplane", 100.0)]


def test_it_builds_again_after_the_sources_changed(tmp_path, monkeypatch):
    before = build.source_digest()
    for name in ("go.mod", "go.sum", "cmd/etcd/main.go"):
        target = tmp_path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((build.HERE / name).read_bytes())
    monkeypatch.setattr(build, "HERE", tmp_path)
    assert build.source_digest() == before
    with (tmp_path / "go.sum").open("a") as f:
        f.write(os.linesep)
    assert build.source_digest() != before


def test_it_tells_why_go_could_not_compile(empty_cache, tmp_path, monkeypatch):
    go = make_go(tmp_path / "bin", "go1.26.1")
    go.write_text(
        '#!/bin/sh\n[ "$1" = list ] && echo one && exit 0\necho "x.go:1: boom" >&2\nexit 2'
    )
    monkeypatch.setattr(build, "find_go", lambda: go)
    with pytest.raises(build.BuildFailed, match="boom"):
        build.ensure()
    assert build.built() is None
