"""What the person who types `make up` may choose, from the environment."""

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

TREE = Path(__file__).resolve().parent.parent.parent
ENGINES = ("auto", "vllm", "standin")
MOST_HISTORY = 60  # days of demo usage; the door takes no older ones
CLUSTERS = ("1", "2")
REPLICAS = ("2", "1")  # of the small service; a real engine takes 2.4 GB


class UpError(Exception):
    """It cannot start; the text tells the person what to change."""


@dataclass(frozen=True, kw_only=True)
class Options:
    data: Path
    port: int
    gateway_port: int
    engine: str
    kubeconfig: Path | None  # a cluster that is there already, used instead of the sandbox's own
    traffic: bool
    history: int = MOST_HISTORY  # days
    clusters: int = 1  # control planes on this machine
    replicas: int = 2  # of the demo's small service

    @property
    def console_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def gateway_url(self) -> str:
        return f"http://127.0.0.1:{self.gateway_port}"


def data_folder(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("QM_DATA") or TREE / ".qm").expanduser().absolute()


def read_options(environ: Mapping[str, str]) -> Options:
    kubeconfig = environ.get("KUBECONFIG", "").partition(os.pathsep)[0]
    if kubeconfig and not Path(kubeconfig).expanduser().is_file():
        raise UpError(
            f"KUBECONFIG names {kubeconfig}, which is not a file. Unset it to get a cluster "
            "on this machine, or name the file of an existing cluster."
        )
    clusters = int(_choice(environ, "QM_CLUSTERS", CLUSTERS))
    if kubeconfig and clusters > 1:
        raise UpError(
            f"QM_CLUSTERS={clusters} starts clusters on this machine, and KUBECONFIG names an "
            "existing one. Unset one of the two."
        )
    return Options(
        data=data_folder(environ),
        port=_port(environ, "QM_PORT", 8000),
        gateway_port=_port(environ, "QM_GATEWAY_PORT", 8080),
        engine=_choice(environ, "QM_ENGINE", ENGINES),
        kubeconfig=Path(kubeconfig).expanduser().absolute() if kubeconfig else None,
        traffic=_choice(environ, "QM_TRAFFIC", ("on", "off")) == "on",
        history=_days(environ),
        clusters=clusters,
        replicas=int(_choice(environ, "QM_REPLICAS", REPLICAS)),
    )


def check_ports(options: Options) -> None:
    if options.port == options.gateway_port:
        raise UpError(f"QM_PORT and QM_GATEWAY_PORT are both {options.port}: choose two ports.")
    for name, port in (("QM_PORT", options.port), ("QM_GATEWAY_PORT", options.gateway_port)):
        with socket.socket() as probe:
            # As the servers do: a port whose last connections still fade away is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                raise UpError(
                    f"Port {port} on 127.0.0.1 is not free ({error.strerror}). Stop what uses it, "
                    f"or choose another: {name}={port + 100} make up"
                ) from None


def _port(environ: Mapping[str, str], name: str, default: int) -> int:
    text = environ.get(name) or str(default)
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 65535:
        raise UpError(f"{name} is {text!r}: give a port number from 1 to 65535.")
    return int(text)


def _days(environ: Mapping[str, str]) -> int:
    text = environ.get("QM_HISTORY") or str(MOST_HISTORY)
    if not text.isascii() or not text.isdigit() or int(text) > MOST_HISTORY:
        raise UpError(f"QM_HISTORY is {text!r}: give a number of days from 0 to {MOST_HISTORY}.")
    return int(text)


def _choice(environ: Mapping[str, str], name: str, choices: tuple[str, ...]) -> str:
    text = environ.get(name) or choices[0]
    if text not in choices:
        raise UpError(f"{name} is {text!r}: say {', '.join(choices[:-1])} or {choices[-1]}.")
    return text
