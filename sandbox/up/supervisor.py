"""Start everything, watch it, write down how it is, and stop it in order.

One thread, no threads beside it: the kernel ends a child with the thread that started it.
"""

import http.client
import os
import signal
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from sandbox.ports import free_port
from sandbox.stores.launcher import Running, launch
from sandbox.stores.run_as import LaunchError
from sandbox.up import lanes
from sandbox.up.children import Child, Guard, Kept
from sandbox.up.folder import DEMO, STATE, keep_secrets, locked, read_json, write_json
from sandbox.up.options import Options, check_ports
from sandbox.up.status import DONE, FAILED, Stage, Status
from sandbox.up.supply import supply
from sandbox.up.terminal import Terminal

TICK_SECONDS = 0.2
WRITE_SECONDS = 1.0
REVIVE_SECONDS = 5.0  # between two attempts to start a server again
# Last come, first gone: clients before the doors, doors before what they need.
STOP_ORDER = (
    *("traffic", "gateway", "web", "beat", "observer", "worker"),
    *("cluster-2", "cluster", "registry"),
)
STOP_SECONDS = {"gateway": 25.0, "worker": 20.0, "cluster": 40.0, "cluster-2": 40.0}
SHARED = ("operator", "approver", "finance", "viewer", "finance_token", "api_keys")


def stages(options: Options) -> list[Stage]:
    return [
        Stage("stores", "PostgreSQL and Valkey", 3),
        Stage("registry", "Registry and model repository", 1),
        Stage("migrate", "Tables", 20),
        Stage("console", "Console", 4),
        Stage("prepare", "People, tenants and keys", 5),
        Stage("build", "Build of the Kubernetes control plane", 300),
        Stage("engine", "Engine", 45),
        Stage("cluster", "Cluster and GPU nodes", 15),
        Stage("deploy", "Demo services", 60),
        Stage("traffic", "Traffic", 1),
        *(lanes.second_stages() if options.clusters > 1 else ()),
        Stage("history", f"{options.history} days of history", options.history),
    ]


class Supervisor:
    def __init__(self, options: Options, surroundings: Mapping[str, str]) -> None:
        self.options = options
        self.surroundings = dict(surroundings)
        self.status = Status(stages(options))
        self.status.facts = {
            "console_url": options.console_url,
            "gateway_url": options.gateway_url,
            "kubeconfig": None,
            "kubeconfigs": [],
            "pid": os.getpid(),
        }
        self.registry_port = free_port()
        self.terminal = Terminal()
        self.environment: dict[str, str] = {}
        self.kept: dict[str, Kept] = {}
        self.lanes: list[lanes.Lane] = []
        self.stopping: list[int] = []
        self.running = Running()
        self.guard: Guard
        self._jobs: list[Child] = []
        self._written = 0.0
        self._revive_at = 0.0

    def run(self) -> int:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda got, _frame: self.stopping.append(got))
        check_ports(self.options)
        with ExitStack() as stack:
            stack.enter_context(locked(self.options.data))
            stack.callback(self._write_stopped)
            (self.options.data / "logs").mkdir(exist_ok=True)
            self.guard = Guard(self.options.data / "logs" / "guard.log")
            stack.callback(self.guard.close)
            self._start_stores(stack)
            stack.callback(self._stop_children)
            self.publish_facts()
            self.lanes = [self._all_lanes()]
            while not self.stopping:
                self._tick()
                time.sleep(TICK_SECONDS)
            self.terminal.say("Stopping ...")
        self.terminal.say("Stopped. Everything is kept in " + str(self.options.data))
        return 0

    # What the lanes use.

    def begin(self, stage: str) -> Stage:
        shown = self.status.stage(stage)
        shown.begin(time.time())
        return shown

    def end(self, stage: str, state: str = DONE, text: str | None = None) -> None:
        self.status.stage(stage).end(state, time.time(), text)

    def child(self, name: str, argv: Sequence[str], extra: Mapping[str, str]) -> Child:
        environment = {**self.environment, **extra}
        logs = self.options.data / "logs"
        child = Child(name, argv, env=environment, logs=logs, guard=self.guard)
        self._jobs.append(child)
        return child

    def keep(self, name: str, argv: Sequence[str], extra: Mapping[str, str] | None = None) -> Kept:
        environment = {**self.environment, **(extra or {})}
        logs = self.options.data / "logs"
        kept = Kept(name, argv, env=environment, logs=logs, guard=self.guard)
        self.kept[name] = kept
        kept.start()
        return kept

    def say(self, text: str) -> None:
        self.terminal.say(text)

    def answers(self, path: str) -> bool:
        """Tell whether the console answers a request."""
        connection = http.client.HTTPConnection("127.0.0.1", self.options.port, timeout=5)
        try:
            connection.request("GET", path)
            return connection.getresponse().status < 500
        except OSError:
            return False
        finally:
            connection.close()

    def publish_facts(self) -> dict[str, Any]:
        """Take addresses and credentials over into up.json; return all that the demo wrote."""
        made: dict[str, Any] = read_json(self.options.data / DEMO) or {}
        self.status.facts |= {name: made[name] for name in SHARED if name in made}
        return made

    # Its own work.

    def _all_lanes(self) -> lanes.Lane:
        yield from lanes.console_lane(self)
        self._welcome()
        self.lanes += [lanes.cluster_lane(self), lanes.history_lane(self)]

    def _start_stores(self, stack: ExitStack) -> None:
        self.begin("stores")
        self._write()
        self.running = stack.enter_context(launch(self.options.data / "stores", quiet=True))
        for server in self.running.servers:
            self.guard.add(server.process.pid)
        self.environment = self._compose_environment()
        self.end("stores", DONE, self.running.label or "those that the environment names")

    def _compose_environment(self) -> dict[str, str]:
        """Hand down what the person set, then what this installation decides."""
        inherited = {k: v for k, v in self.surroundings.items() if k != "KUBECONFIG"}
        decided = {
            "QM_DATA": str(self.options.data),
            "QM_PORT": str(self.options.port),
            "QM_GATEWAY_PORT": str(self.options.gateway_port),
            "QM_CONSOLE_URL": self.options.console_url,
            "QM_GATEWAY_URL": self.options.gateway_url,
            "QM_UP_FILE": str(self.options.data / STATE),
            "PYTHONUNBUFFERED": "1",
            **supply(self.options.data / "registry", self.registry_port, inherited),
        }
        return inherited | keep_secrets(self.options.data) | self.running.urls | decided

    def _tick(self) -> None:
        self._advance()
        for kept in self.kept.values():
            if trouble := kept.tend():
                self.terminal.say(f"  {trouble}")
        self._revive_stores()
        self.status.answers = self.status.stage("console").state == DONE
        self.terminal.show(self.status, time.time())
        if time.monotonic() - self._written > WRITE_SECONDS:
            self._write()

    def _advance(self) -> None:
        for lane in list(self.lanes):
            try:
                next(lane)
            except StopIteration:
                self.lanes.remove(lane)
            except lanes.StageFailed as failure:
                self.lanes.remove(lane)
                log = self.options.data / "logs" / f"{failure.stage}.log"
                why = " ".join(str(failure).split())
                self.end(failure.stage, FAILED, f"{why} (log: {log})")

    def _revive_stores(self) -> None:
        if time.monotonic() < self._revive_at:
            return
        try:
            for server in self.running.revive():
                self.guard.add(server.process.pid)
                self.terminal.say(f"  {server.name} had ended and was started again")
        except LaunchError as error:
            self._revive_at = time.monotonic() + REVIVE_SECONDS
            self.terminal.say(f"  {error}")

    def _welcome(self) -> None:
        facts = self.status.facts
        lines = ["", f"  Console   {self.options.console_url}"]
        for who in ("operator", "approver"):
            if who in facts:
                lines.append(f"            {facts[who]['email']}  {facts[who]['password']}")
        lines += [f"  Gateway   {self.options.gateway_url}/v1", "  Ctrl-C stops everything.", ""]
        self.terminal.say("\n".join(lines))
        self._write()

    def _write(self) -> None:
        self._written = time.monotonic()
        write_json(self.options.data / STATE, self.status.document(time.time()))

    def _write_stopped(self) -> None:
        """Leave the addresses, but nobody shall think that it runs."""
        document = self.status.document(time.time())
        gone = {"state": "stopped", "stage": "stopped", "pid": None}
        write_json(self.options.data / STATE, document | gone)

    def _stop_children(self) -> None:
        for child in self._jobs:
            child.stop(5.0)
        together = [self.kept[name] for name in STOP_ORDER if name in self.kept]
        for child in together:
            if child.name in ("traffic", "gateway"):
                child.stop(STOP_SECONDS.get(child.name, 5.0))
        for child in together:
            child.process.terminate()
        for child in together:
            child.stop(STOP_SECONDS.get(child.name, 8.0))
