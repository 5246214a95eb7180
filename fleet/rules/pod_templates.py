"""Pod templates of a release with what somebody wrote into them: the content that they say. Pure.

A Deployment and a StatefulSet have one template. A LeaderWorkerSet has one for its leader and one
for all its workers.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from fleet.rules.groups import leader_of
from fleet.rules.pods import CONTAINER, Part, arguments
from fleet.rules.release import GPU
from fleet.rules.vllm_args import normalise, values_of

Edits = Mapping[str, Any]  # path to what is there; None: taken away
INSIDE = f"spec.containers[{CONTAINER}]"
IMAGE, ARGS, ENV = f"{INSIDE}.image", f"{INSIDE}.args", f"{INSIDE}.env["
LENGTH = "--max-model-len"
RESOURCES: Mapping[str, tuple[str, Callable[[Any], Any]]] = {
    f"{INSIDE}.resources.limits.{GPU}": ("gpus", int),
    f"{INSIDE}.resources.requests.{GPU}": ("gpus", int),
    f"{INSIDE}.resources.requests.cpu": ("cpu", str),
    f"{INSIDE}.resources.limits.memory": ("memory", str),
    f"{INSIDE}.resources.requests.memory": ("memory", str),
    f"spec.nodeSelector.{GPU}.product": ("gpu_product", str),
}


@dataclass(frozen=True, slots=True)
class Template:
    """`edits`: of it alone, by paths that begin in it."""

    part: Part  # as it was placed
    name: str  # decode, decode-w1; workers of a LeaderWorkerSet: decode workers
    edits: Edits
    max_model_len: int

    @property
    def part_of(self) -> str:
        """The role whose content it has."""
        return leader_of(self.part.role)

    def image(self, running: str) -> tuple[str, str]:
        """Repository and digest."""
        own = self.part.spec
        if IMAGE not in self.edits:
            return own.image, own.image_digest
        reference = str(self.edits[IMAGE])
        name, _, digest = reference.partition("@")
        if not (digest or running):
            raise ValueError(
                f"{reference} is a tag, and its replicas do not say yet which image that is:"
                " wait until they run, or give the digest"
            )
        host, slash, rest = name.rpartition("/")
        return f"{host}{slash}{rest.partition(':')[0]}", digest or running

    def environment(self, before: Mapping[str, str]) -> dict[str, str]:
        """The whole of a variable, or its value; where it comes from is not adopted."""
        found = dict(before)
        for path, live in self.edits.items():
            if path.startswith(ENV):
                name, _, field = path.removeprefix(ENV).partition("]")
                found.pop(name, None)
                value = live.get("value", "") if isinstance(live, dict) else live
                if live is not None and field in ("", ".value"):
                    found[name] = str(value)
        return found

    def arguments(self) -> tuple[str, ...]:
        """Those of the release and of its role, without those that the console gives each."""
        own = self.part.spec
        if ARGS not in self.edits:
            return own.arguments
        bare = replace(own, arguments=())
        given = arguments(bare, self.max_model_len, self.part.fingerprint, self.part.place)
        rest = list(self.edits[ARGS] or [])
        absent = []
        for word in given:
            if word in rest:
                rest.remove(word)
            elif not word.startswith(f"{LENGTH}="):
                absent.append(word)
        if absent:
            raise ValueError(f"{', '.join(absent)} is given to each release: repair the arguments")
        found = normalise(rest)
        if LENGTH in values_of(own.arguments) and LENGTH not in values_of(found):
            raise ValueError(
                f"{LENGTH} was taken away, and each release has one: repair the arguments"
            )
        return found

    def resources(self) -> dict[str, Any]:
        """Those that were changed, by the names of a release."""
        known = ((RESOURCES[path], live) for path, live in self.edits.items() if path in RESOURCES)
        return {field: read(live) for (field, read), live in known if live is not None}


def templates_of(parts: list[Part], edits: Edits, max_model_len: int) -> list[Template]:
    """`edits`: by path as drift has it, with the role before it where there are several parts."""
    found = []
    for part in parts:
        prefix = f"{part.role}." if len(parts) > 1 else ""
        for own, name, head in heads_of(part):
            mine = within(edits, f"{prefix}{head}.")
            found.append(Template(own, name, mine, max_model_len))
    return found


def heads_of(part: Part) -> list[tuple[Part, str, str]]:
    """Part, name and place of each template in what stands for it."""
    if not part.sets:
        return [(part, part.role, "spec.template")]
    inside = "spec.leaderWorkerTemplate"
    workers = replace(part, rank="$(LWS_WORKER_INDEX)")
    return [
        (part, part.role, f"{inside}.leaderTemplate"),
        (workers, f"{part.role} workers", f"{inside}.workerTemplate"),
    ]


def within(edits: Edits, head: str) -> dict[str, Any]:
    return {path.removeprefix(head): live for path, live in edits.items() if path.startswith(head)}
