"""`kubectl logs` against the nodes' listeners."""

import ssl
import subprocess
from http.client import HTTPSConnection

import pytest

from sandbox.cluster.kube import Access
from sandbox.cluster.logs import PORT, LogRequest, tail_start
from tests.fixtures.cluster import RunningCluster
from tests.fixtures.kubernetes import NAMESPACE


def test_it_reads_what_the_api_server_asks():
    line = "GET /containerLogs/models/chat-1/engine?follow=true&tailLines=10 HTTP/1.1"
    want = LogRequest("models/chat-1", "engine", True, False, 10)
    assert LogRequest.parse(line) == want


@pytest.mark.parametrize(
    "line",
    [
        "",
        "POST /containerLogs/a/b/c HTTP/1.1",
        "GET /exec/a/b/c HTTP/1.1",
        "GET /containerLogs/../../etc/passwd HTTP/1.1",
    ],
)
def test_it_answers_nothing_else(line: str):
    assert LogRequest.parse(line) is None


@pytest.mark.parametrize(
    ("content", "lines", "want"),
    [
        (b"a\nb\nc\n", 1, b"c\n"),
        (b"a\nb\nc", 2, b"b\nc"),
        (b"a\nb\nc\n", 9, b"a\nb\nc\n"),
        (b"a\nb\n", None, b"a\nb\n"),
        (b"a\nb\n", 0, b""),
        (b"", 3, b""),
    ],
)
def test_it_finds_the_last_lines(tmp_path, content: bytes, lines: int | None, want: bytes):
    path = tmp_path / "log"
    path.write_bytes(content)
    assert content[tail_start(path, lines) :] == want


@pytest.mark.cluster
@pytest.mark.timeout(60, func_only=True)
def test_it_shows_a_log_through_kubectl(releases: RunningCluster, rel1):
    sandbox = releases.sandbox
    argv = [sandbox.config.bin / "kubectl", "--kubeconfig", sandbox.cluster.kubeconfig("admin")]
    argv += ["-n", NAMESPACE, "logs", rel1[0]["metadata"]["name"], "--tail=1"]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout == f"listening on {rel1[0]['status']['podIP']}:8000\n"


@pytest.mark.cluster
@pytest.mark.timeout(60, func_only=True)
def test_it_tells_a_stranger_no_log(releases: RunningCluster, rel1):
    pod = rel1[0]
    strangers = ssl.create_default_context(cadata=Access.load(releases.kubeconfig).ca)
    conn = HTTPSConnection(pod["status"]["hostIP"], PORT, context=strangers, timeout=5)

    def read() -> None:  # in TLS 1.3 the refusal comes at some time after the handshake
        conn.request("GET", f"/containerLogs/{NAMESPACE}/{pod['metadata']['name']}/engine")
        conn.getresponse()

    with pytest.raises((ssl.SSLError, ConnectionError)):
        read()
