"""What starts in which order. Each lane is a generator: it yields while it waits.

The console's lane comes first and waits for nothing but itself. Then two lanes go on beside each
other: the cluster with its engines, services and traffic, then a second one where it is wanted,
and the history.
"""

import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from sandbox.up.children import Child, Kept
from sandbox.up.options import Options
from sandbox.up.status import DONE, SKIPPED, Stage, Status

Lane = Generator[None, None, None]
CONCURRENCY = "2"
# Another region, which has less than the first.
SECOND = ("--region", "local-2", "--pool", "1x4xNVIDIA-H100-80GB-HBM3")


class StageFailed(Exception):
    """The lane ends here; the text is shown to the person."""

    def __init__(self, stage: str, why: str) -> None:
        super().__init__(why)
        self.stage = stage


class Up(Protocol):
    """What a lane needs of the supervisor."""

    options: Options
    status: Status
    registry_port: int

    def begin(self, stage: str) -> Stage: ...
    def end(self, stage: str, state: str = ..., text: str | None = ...) -> None: ...
    def child(self, name: str, argv: Sequence[str], extra: Mapping[str, str]) -> Child: ...
    def keep(self, name: str, argv: Sequence[str], extra: Mapping[str, str] = ...) -> Kept: ...
    def say(self, text: str) -> None: ...
    def answers(self, path: str) -> bool: ...
    def publish_facts(self) -> dict[str, Any]: ...


def run(
    up: Up, stage: str, argv: Sequence[str], extra: Mapping[str, str] | None = None
) -> Generator[None, None, dict[str, Any]]:
    """Run a command as a stage; return the values of its JSON lines."""
    shown = up.begin(stage)
    child = up.child(stage, argv, extra or {})
    child.start()
    while child.process.alive:
        follow(shown, child.listen())
        yield
    said = child.listen()
    if child.process.poll() or said.get("error"):
        raise StageFailed(stage, child.last_words())
    up.end(stage, DONE)
    return said


def follow(stage: Stage, said: Mapping[str, Any]) -> None:
    stage.percent = max(stage.percent, min(99.0, float(said.get("percent") or 0)))
    stage.text = str(said.get("text") or said.get("step") or stage.text)


def until(check: Callable[[], bool]) -> Lane:
    while not check():
        yield


def manage(*words: str) -> list[str]:
    return [sys.executable, "manage.py", *words]


def demo(up: Up, *words: str) -> list[str]:
    return manage("demo", "--file", str(up.options.data / "demo.json"), *words)


def registry(up: Up) -> Lane:
    """Images and models by tag and branch, and what checks their signatures; a second or two."""
    up.begin("registry")
    argv = [sys.executable, "-m", "sandbox.registry", "--port", str(up.registry_port)]
    child = up.keep("registry", [*argv, "--data", str(up.options.data / "registry")])
    while child.listen().get("state") != "ready":
        if child.restarts > 2:
            raise StageFailed("registry", child.last_words())
        yield
    up.status.facts["registry_url"] = child.said["url"]
    up.end("registry", DONE, str(child.said["url"]))


def console_lane(up: Up) -> Lane:
    """Migrate, open the console, make the demo's people and keys, start the other processes."""
    yield from registry(up)
    wanted = manage("migrate", "--no-input", "--skip-checks", "--progress")
    yield from run(up, "migrate", wanted)
    up.begin("console")
    web = [sys.executable, "-m", "uvicorn", "console.asgi:application", "--no-access-log"]
    # No proxy stands before it: nobody on this machine says from where he calls.
    web += ["--host", "127.0.0.1", "--port", str(up.options.port), "--no-proxy-headers"]
    web += ["--http", "gateway.protocol:Protocol"]
    up.keep("web", [*web, "--timeout-graceful-shutdown", "3"])
    yield from until(lambda: up.answers("/livez"))
    up.end("console", DONE, up.options.console_url)
    yield from run(up, "prepare", demo(up, "--prepare", "--replicas", str(up.options.replicas)))
    facts = up.publish_facts()
    celery = [sys.executable, "-m", "celery", "-A", "console"]
    quiet = ["--loglevel", "WARNING"]
    lean = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    up.keep("worker", [*celery, "worker", "--concurrency", CONCURRENCY, *lean, *quiet])
    # In memory: the tables know what is due, and a restart asks them anew.
    up.keep("beat", [*celery, "beat", "--scheduler", "celery.beat.Scheduler", *quiet])
    up.keep("observer", manage("observe"))
    up.keep("gateway", [sys.executable, "-m", "gateway"], gateway_environment(up, facts))


def gateway_environment(up: Up, facts: Mapping[str, Any]) -> dict[str, str]:
    return {
        "QM_GATEWAY_HOST": "127.0.0.1",
        "QM_INGEST_URL": f"{up.options.console_url}/api/v1/usage/events",
        "QM_INGEST_TOKEN": str(facts.get("ingest_token", "")),
        "QM_SPOOL_DIR": str(up.options.data / "spool"),
        # While the machine builds and starts a cluster, a busy store is not a broken one.
        "QM_GATEWAY_STORE_MS": "500",
    }


def history_lane(up: Up) -> Lane:
    if not up.options.history:
        up.begin("history")
        up.end("history", SKIPPED, "QM_HISTORY=0")
        return
    days = ["--days", str(up.options.history)]
    yield from run(up, "history", demo(up, "--history", *days, "--url", up.options.console_url))


def cluster_lane(up: Up) -> Lane:
    """Build, install, start, deploy; or only register the cluster that KUBECONFIG names."""
    if up.options.kubeconfig:
        yield from given_cluster(up, up.options.kubeconfig)
        return
    built = yield from run(up, "build", [sys.executable, "-m", "sandbox.controlplane.build"])
    engine = yield from engines(up)
    said = yield from control_plane(up, "cluster", "--bin", str(built["bin"]))
    yield from run(up, "deploy", demo(up, *deploy(said), "--engine", engine))
    start_traffic(up)
    if up.options.clusters > 1:
        said = yield from control_plane(up, "cluster-2", "--bin", str(built["bin"]), *SECOND)
        yield from run(up, "deploy-2", demo(up, *deploy(said), "--second"))


def control_plane(up: Up, name: str, *words: str) -> Generator[None, None, dict[str, Any]]:
    """Start one in the folder of its name; return what it said when it was ready."""
    stage = up.begin(name)
    argv = [sys.executable, "-m", "sandbox.cluster", "--data", str(up.options.data / name)]
    cluster = up.keep(name, [*argv, *words])
    while cluster.listen().get("state") != "ready":
        follow(stage, cluster.said)
        if cluster.said.get("error") and cluster.restarts > 2:
            raise StageFailed(name, cluster.last_words())
        yield
    know(up, cluster.said["admin_kubeconfig"])
    up.end(name, DONE, f"{len(cluster.said.get('nodes', ()))} GPU nodes")
    return cluster.said


def know(up: Up, kubeconfig: str) -> None:
    """Tell programs how to get in; `kubeconfig` is the first cluster's."""
    known = [*up.status.facts.get("kubeconfigs", ()), kubeconfig]
    up.status.facts |= {"kubeconfig": known[0], "kubeconfigs": known}


def deploy(said: Mapping[str, Any]) -> list[str]:
    return ["--deploy", "--kubeconfig", said["kubeconfig"], "--images", said["images"]]


def second_stages() -> tuple[Stage, ...]:
    """Of QM_CLUSTERS=2."""
    return (
        Stage("cluster-2", "Second cluster", 15),
        Stage("deploy-2", "Placement in the second cluster", 20),
    )


def given_cluster(up: Up, kubeconfig: Path) -> Lane:
    know(up, str(kubeconfig))
    for stage in ("build", "engine", "cluster"):
        up.end(stage, SKIPPED, f"KUBECONFIG names {kubeconfig}")
    words = ["--kubeconfig", str(kubeconfig), "--register-only"]
    yield from run(up, "deploy", demo(up, "--deploy", *words))
    up.end("traffic", SKIPPED, "no demo services on a cluster that is not the sandbox's own")


def engines(up: Up) -> Generator[None, None, str]:
    """Decide what the demo's small service runs on, and install it; return the engine's name."""
    if up.options.engine == "standin":
        up.end("engine", SKIPPED, "QM_ENGINE=standin")
        up.status.notes["engine"] = "All services run on the stand-in engine: QM_ENGINE=standin."
        return "standin"
    try:
        install = [sys.executable, "-m", "sandbox.engines.vllm_env"]
        said = yield from run(up, "engine", [*install, "--check"])
        if not said.get("installed"):
            up.say(f"  {said.get('text')}. QM_ENGINE=standin does without.")
        yield from run(up, "engine", install)
    except StageFailed as failure:
        if up.options.engine == "vllm":
            # Asked for by name: a failure. The rest goes on with the stand-in all the same.
            up.end("engine", "failed", str(failure))
        else:
            up.end("engine", SKIPPED, str(failure))
        up.status.notes["engine"] = (
            f"All services run on the stand-in engine, for vLLM is not possible here: {failure}"
        )
        return "standin"
    return "vllm"


def start_traffic(up: Up) -> None:
    options = up.options
    if not options.traffic:
        up.end("traffic", SKIPPED, "QM_TRAFFIC=off")
        return
    up.begin("traffic")
    argv = [sys.executable, "-m", "sandbox.traffic", "--gateway", options.gateway_url]
    argv += ["--keys", str(options.data / "demo.json")]
    up.keep("traffic", [*argv, "--off-while", str(options.data / "traffic.off")])
    up.end("traffic", DONE, "make traffic-off silences it")
