"""Which local command stands behind a container image, in the place of a registry.

The table is the only way to run a program: a pod that brings its own `command` is refused, so a
manifest cannot run arbitrary programs on the machine. The exceptions are `true` and the scripts in
SCRIPTS, by the digest of their text.

DATA/images.json holds it; the node agent reads it again whenever it changes:

    {"images": {"REPO@sha256:DIGEST": {
        "command": ["{python}", "-m", "sandbox.engines.standin"],  program and its first arguments
        "append": ["--host", "{pod_ip}"],       after the pod's arguments: the last flag wins
        "env": {"NAME": "value"},               the pod's own variables win
        "paths": {"/models/tiny": "/real/dir"}, replaced where an argument begins with the key
        "pull_seconds": 0.0, "tag": "0.32", "description": "..."}},
     "deny": ["sha256:..." or a whole reference]}

In command, append and env, {pod_ip}, {python} and {root} (this checkout) are replaced. A digest
that is not in the table ends in ErrImagePull, as does a denied one. The entries of
sandbox.engines.images are written into the file at each start of the sandbox; others in it are
left alone.
"""

import hashlib
import json
import os
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_REFERENCE = re.compile(
    r"^(?P<repo>[^@\s]+?)(?::(?P<tag>[\w][\w.-]*))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?$"
)


SCRIPTS = frozenset(
    {
        # Brings weights of a hub into a cache, with the huggingface_hub that the image has.
        "4c3ed342ebe1e3b10ed34c6dfbc5e7e87667180d5ee1ffd03c9fc2fc0305e02e",
    }
)


def runs_script(command: list[str]) -> bool:
    """Whether it is `python3 -c TEXT` with a text that is known."""
    if len(command) != 3 or command[:2] != ["python3", "-c"]:
        return False
    return hashlib.sha256(command[2].encode()).hexdigest() in SCRIPTS


class PullError(Exception):
    """The image cannot be had; the text is what a container runtime would say."""


class InvalidImage(Exception):
    """The reference does not parse (InvalidImageName)."""


@dataclass(frozen=True)
class Image:
    command: list[str]
    append: list[str] = field(default_factory=list)
    env: dict[str, str] = field(default_factory=dict)
    paths: dict[str, str] = field(default_factory=dict)
    pull_seconds: float = 0.0
    tag: str = ""
    python: str = "{python}"  # what runs one of SCRIPTS in it
    dies_of: str = ""  # "OOMKilled": every failed exit is told as one
    description: str = ""

    def argv(self, pod_args: list[str], pod_ip: str) -> list[str]:
        """The whole command line of a container."""
        mapped = [self._map_path(arg) for arg in pod_args]
        return [
            *(_expand(word, pod_ip) for word in self.command),
            *mapped,
            *(_expand(word, pod_ip) for word in self.append),
        ]

    def interpreter(self) -> str:
        return _expand(self.python, "")

    def environment(self, pod_ip: str) -> dict[str, str]:
        return {key: _expand(value, pod_ip) for key, value in self.env.items()}

    def _map_path(self, arg: str) -> str:
        flag, equals, value = arg.partition("=") if arg.startswith("-") else ("", "", arg)
        for prefix, real in self.paths.items():
            if value == prefix or value.startswith(prefix + "/"):
                return f"{flag}{equals}{real}{value.removeprefix(prefix)}"
        return arg


@dataclass(frozen=True)
class Resolved:
    image: Image
    image_id: str  # as status.containerStatuses[].imageID; also the key of a node's cache


class ImageTable:
    """The table of one sandbox, kept in step with its file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.images: dict[str, Image] = {}
        self.deny: set[str] = set()
        self.pull_delay = 0.0  # seconds that every pull takes at least (fault injection)
        self._seen = -1
        self.refresh()

    def refresh(self) -> None:
        """Read the file if it is newer than what is in memory."""
        stamp = self.path.stat().st_mtime_ns if self.path.exists() else 0
        if stamp == self._seen:
            return
        raw = json.loads(self.path.read_text()) if stamp else {}
        self.images = {name: Image(**spec) for name, spec in raw.get("images", {}).items()}
        self.deny = set(_strings(raw.get("deny")))
        self._seen = stamp

    def set_denied(self, image: str, *, denied: bool) -> None:
        """Let further pulls of a digest or reference fail, or work again; survives restarts."""
        raw = read_table(self.path)
        wanted = set(_strings(raw.get("deny")))
        (wanted.add if denied else wanted.discard)(image)
        write_table(self.path, raw | {"deny": sorted(wanted)})
        self.refresh()

    def resolve(self, reference: str) -> Resolved:
        """Raises InvalidImage or PullError."""
        self.refresh()
        match = _REFERENCE.match(reference)
        if match is None:
            raise InvalidImage(
                f'couldn\'t parse image name "{reference}": invalid reference format'
            )
        repo, tag, digest = match["repo"].removeprefix("docker.io/"), match["tag"], match["digest"]
        known = {name: i for name, i in self.images.items() if name.partition("@")[0] == repo}
        if not known:
            raise _pull_error(
                reference,
                "pull access denied, repository does not exist or may require authorization",
            )
        wanted = f"{repo}@{digest}" if digest else _by_tag(known, tag or "latest")
        image = known.get(wanted)
        if image is None or self.deny & {digest, reference, wanted, wanted.partition("@")[2]}:
            raise _pull_error(reference, f"{reference}: not found")
        return Resolved(image, wanted)


def _by_tag(known: dict[str, Image], tag: str) -> str:
    return next((name for name, image in known.items() if image.tag == tag), "")


def _pull_error(reference: str, why: str) -> PullError:
    return PullError(
        f'failed to pull and unpack image "{reference}": failed to resolve reference '
        f'"{reference}": {why}'
    )


def _expand(text: str, pod_ip: str) -> str:
    text = text.replace("{pod_ip}", pod_ip).replace("{root}", str(ROOT))
    return text.replace("{python}", sys.executable)


def read_table(path: Path) -> dict[str, object]:
    raw: dict[str, object] = json.loads(path.read_text()) if path.exists() else {}
    return raw


def write_table(path: Path, table: dict[str, object]) -> None:
    """In one rename, because the node agent may read at any moment."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.write_text(json.dumps(table, indent=1))
    fresh.replace(path)


def _strings(value: object) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else []
