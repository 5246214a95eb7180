"""The stand-in as one engine over several processes: who meets, who waits, who ends."""

import sys
from pathlib import Path

import pytest

from sandbox.ports import free_port
from sandbox.process import Process
from tests.fixtures.kubernetes import ask, is_closed, until

HOST = "127.0.0.1"


class Members:
    """A leader and its workers on loopback; the port that they meet on is the leader's."""

    def __init__(self, folder: Path):
        self.folder, self.http, self.meeting = folder, free_port(), free_port()
        self.running = {}

    def start(self, rank, group="rel-a@0", size=3, leader=HOST):
        own = [f"--nnodes={size}", f"--node-rank={rank}", f"--master-addr={leader}",
               f"--master-port={self.meeting}", "--host", HOST, "--port", str(self.http),
               "--admin-port", "0", *(["--headless"] if rank else [])]  # fmt: skip
        environ = {"QUARTERMASTER_GROUP": group, "SANDBOX_NAMES": str(self.folder)}
        argv = [sys.executable, "-m", "sandbox.engines.standin", "tiny", *own]
        process = Process(f"rank-{rank}", argv, self.folder / f"{rank}.log", env=environ)
        process.start()
        self.running[rank] = process
        return process

    def answers(self):
        return ask(HOST, "/health", port=self.http)[0] == 200


@pytest.fixture
def members(tmp_path):
    found = Members(tmp_path)
    yield found
    for process in found.running.values():
        process.stop(5)


def test_a_leader_is_ready_with_all_its_workers_and_ends_with_each(members):
    leader = members.start(0)
    first = members.start(1)
    until("the leader waits", lambda: "waits for 2 workers" in leader.tail(2000))
    until("one has joined", lambda: "rank 1 joined" in first.tail(2000))
    assert is_closed(HOST, members.http)
    second = members.start(2)
    until("all of it is there", members.answers)
    second.stop(0)
    until("the leader ends", lambda: not leader.alive)
    until("so does the other worker", lambda: not first.alive)
    assert "worker 2 is gone" in leader.tail(2000)
    assert (leader.poll(), first.poll()) == (1, 1)


def test_a_worker_refuses_the_leader_of_another_group(members):
    leader = members.start(0)
    stranger = members.start(1, group="rel-b@0")
    until("it leaves", lambda: not stranger.alive)
    assert stranger.poll() == 1
    assert "the leader is of 'rel-a@0', not 'rel-b@0'" in stranger.tail(2000)
    assert leader.alive
    assert is_closed(HOST, members.http)


def test_a_leader_is_found_by_its_name(members):
    (members.folder / "chat-0.chat-group").write_text(HOST)
    members.start(0, size=2)
    members.start(1, size=2, leader="chat-0.chat-group.models")
    until("they met", members.answers)
