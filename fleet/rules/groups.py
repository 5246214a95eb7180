"""A release of more than one workload: its replica is a group of pods that moves as one. Pure.

A pool for prefill hands the KV blocks of a prompt to a pool for decode. Whose blocks a decode takes
it cannot tell by itself: vLLM's own check knows the model's name, not its weights. So a release is
one KV domain: its pods meet only each other, and all numbers of pods follow from one number of
replicas, which keeps their ratio at every step of a rollout and of the way back.

An engine may span several pods, on a node each: a leader, which answers, and its workers. To all
who count, the workers of each rank are a role of their own, so what is said of whole replicas holds
for them as well.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from fleet.rules.kv_layout import refuse_layouts
from fleet.rules.release import SERVE, ReleaseSpec, Role, ranks_of
from fleet.rules.vllm_args import values_of

PREFILL = "prefill"
DECODE = "decode"
PAIR = frozenset({PREFILL, DECODE})
MEANS = {
    PREFILL: "reads prompts and hands their KV blocks over",
    DECODE: "takes the blocks and writes the answers",
}
WORKER = re.compile(r"-w(\d+)$")
GROUP = re.compile(r"groups of ([1-9]\d*)")
GPUS = re.compile(r"(?:([1-9]\d*) )?GPUs?(?: of (\S+))?")
MOST_PODS = 16  # of one role in one replica
WRITES = ("kv_producer", "kv_both")
READS = ("kv_consumer", "kv_both")
ROLE_OF = {PREFILL: WRITES, DECODE: READS}
# They read and write a store beside the engine: nothing is handed from pod to pod.
STORES = frozenset({"OffloadingConnector", "SimpleCPUOffloadConnector", "MooncakeStoreConnector"})


def whole(roles: Iterable[str], shape: Mapping[str, int]) -> int:
    """How many whole replicas pods of these roles make."""
    counts = Counter(roles)
    if not shape:
        return counts.total()
    return min(counts[role] // each for role, each in shape.items())


def touched(roles: Iterable[str], shape: Mapping[str, int]) -> int:
    """How many replicas have at least one of these pods."""
    counts = Counter(roles)
    if not shape:
        return counts.total()
    return max(-(-counts[role] // each) for role, each in shape.items())


def shape_from(resources: Mapping[str, Any], roles: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Pods of each role in one replica, workers apart, of the stored parts of a release. Empty: a
    replica is one pod.
    """
    found: dict[str, int] = {}
    for name, replicas, own in _engines(resources, roles):
        found |= dict.fromkeys(ranks_of(name, int(own.get("group_size", 1))), replicas)
    return {} if list(found) == [SERVE] else found


Engine = tuple[str, int, Mapping[str, Any]]


def _engines(resources: Mapping[str, Any], roles: Iterable[Mapping[str, Any]]) -> list[Engine]:
    """Role, engines of it in one replica, resources of a pod of it."""
    found: list[Engine] = []
    for role in roles:
        own = {**resources, **role.get("resources", {})}
        found.append((role["name"], int(role["replicas"]), own))
    return found or [(SERVE, 1, resources)]


def pods_from(resources: Mapping[str, Any], roles: Iterable[Mapping[str, Any]]) -> tuple[int, ...]:
    """GPUs of each pod of one replica, of the stored parts of a release."""
    return tuple(
        int(own.get("gpus", 1))
        for _, replicas, own in _engines(resources, roles)
        for _ in range(replicas * int(own.get("group_size", 1)))
    )


def pods_by_product(
    resources: Mapping[str, Any], roles: Iterable[Mapping[str, Any]]
) -> dict[str, tuple[int, ...]]:
    """The same by the GPU product that each wants, of the stored parts of a release."""
    found: dict[str, tuple[int, ...]] = {}
    for _, replicas, own in _engines(resources, roles):
        product = str(own.get("gpu_product", ""))
        pods = (int(own.get("gpus", 1)),) * (replicas * int(own.get("group_size", 1)))
        found[product] = found.get(product, ()) + pods
    return dict(sorted(found.items()))


def is_worker(role: str) -> bool:
    """Of an engine that spans several pods, one that does not answer for it."""
    return WORKER.search(role) is not None


def leader_of(role: str) -> str:
    return WORKER.sub("", role)


def answers_clients(role: str) -> bool:
    return role != PREFILL and not is_worker(role)


def sentence_of(shape: Mapping[str, int]) -> str:
    """ "1 prefill and 2 decode", "2 pods that are one engine"; empty: a replica is one pod."""
    sizes = Counter(map(leader_of, shape))
    return " and ".join(_engines_words(shape[role], role, size) for role, size in sizes.items())


def _engines_words(each: int, role: str, size: int) -> str:
    if role == SERVE:
        return f"{size} pods that are one engine"
    return f"{each} {role}" + (f" over {size} pods" if size > 1 else "")


def described(spec: ReleaseSpec) -> str:
    """ "1 prefill and 2 decode", with the GPUs of each where they are of several products."""
    if not spec.is_mixed:
        return sentence_of(spec.shape)
    parts = [(role, spec.part(role).resources) for role in spec.roles]
    return " and ".join(
        f"{_engines_words(role.replicas, role.name, own.group_size)} of {own.gpus}"
        f" {own.gpu_product.removeprefix('NVIDIA-')}"
        for role, own in parts
    )


def read_role(given: Mapping[str, Any]) -> Role:
    """From JSON; raise ValueError with a sentence."""
    known = {"name", "replicas", "arguments", "resources"}
    if strange := sorted(given.keys() - known):
        raise ValueError(f"A role has no {strange[0]}: it has {', '.join(sorted(known))}")
    name, replicas = given.get("name"), given.get("replicas", 1)
    if not isinstance(name, str) or name not in PAIR:
        raise ValueError(f"There is no role {name!r}: roles are {' and '.join(sorted(PAIR))}")
    if not isinstance(replicas, int) or isinstance(replicas, bool):
        raise ValueError(f"{name}: replicas must be a whole number, not {replicas!r}")
    return Role(
        name=name,
        replicas=replicas,
        arguments=tuple(given.get("arguments", ())),
        resources=dict(given.get("resources", {})),
    )


def read_lines(lines: Iterable[str]) -> list[dict[str, Any]]:
    """Roles as people write them, one a line: prefill 1, 2 GPUs of NVIDIA-L40S, --flag=16."""
    return [_line(line.strip()) for line in lines if line.strip()]


def _line(line: str) -> dict[str, Any]:
    head, *rest = (part.strip() for part in line.split(", "))
    name, _, number = head.partition(" ")
    if not number.strip().isdigit():
        raise ValueError(f"'{line[:60]}' is not like: prefill 1, 2 GPUs, --max-num-seqs=16")
    found: dict[str, Any] = {"name": name, "replicas": int(number), "arguments": []}
    for part in rest:
        if (match := GPUS.fullmatch(part)) and any(match.groups()):
            given = {"gpus": match[1] and int(match[1]), "gpu_product": match[2]}
            found.setdefault("resources", {}).update({n: v for n, v in given.items() if v})
        elif match := GROUP.fullmatch(part):
            found.setdefault("resources", {})["group_size"] = int(match[1])
        elif part.startswith("-"):
            found["arguments"].append(part)
        else:
            raise ValueError(f"'{part[:60]}' is neither a number of GPUs nor an argument: --flag")
    return found


def line_of(role: Role) -> str:
    """As `read_lines` takes it."""
    product, gpus = role.resources.get("gpu_product"), role.resources.get("gpus")
    words = [str(gpus or ""), "GPU" if gpus == 1 else "GPUs", f"of {product}" if product else ""]
    of_it = [" ".join(filter(None, words))] if gpus or product else []
    size = role.resources.get("group_size")
    of_it += [f"groups of {size}"] if size else []
    return ", ".join([f"{role.name} {role.replicas}", *of_it, *role.arguments])


def refuse_roles(spec: ReleaseSpec) -> Iterator[str]:
    """A sentence for each fault of the roles taken together; none where there are no roles."""
    if not spec.roles:
        return
    names = [role.name for role in spec.roles]
    if twice := [name for name, n in Counter(names).items() if n > 1]:
        yield f"The role {twice[0]} is there twice: give its number of pods once"
        return
    if missing := sorted(PAIR - set(names)):
        there = names[0]
        yield (
            f"{there} without {missing[0]} answers nothing: a replica needs both, or no roles at"
            " all, where one pod does the whole work"
        )
        return
    yield from _refuse_numbers(spec)
    yield from _refuse_connectors(spec)
    yield from refuse_layouts({role.name: spec.part(role) for role in spec.roles})


def _refuse_numbers(spec: ReleaseSpec) -> Iterator[str]:
    for role in spec.roles:
        if not 1 <= role.replicas <= MOST_PODS:
            yield f"{role.name}: {role.replicas} pods a replica, between 1 and {MOST_PODS}"
    wants = {role.name: spec.part(role).resources.gpu_product for role in spec.roles}
    if spec.is_mixed and not all(wants.values()):
        said = " and ".join(f"{name} asks for {wants[name] or 'any GPU'}" for name in wants)
        yield (
            f"{said}: a plan counts GPUs of each product, so name one for every role or for none"
        )


def _refuse_connectors(spec: ReleaseSpec) -> Iterator[str]:
    """Each role needs the connector that hands blocks from pod to pod, the same one, its way."""
    found = {role.name: transfer_of(spec.part(role)) for role in spec.roles}
    bare = [name for name, config in found.items() if not config.get("kv_connector")]
    if bare:
        yield (
            f"{' and '.join(bare)} has no KV connector: give --kv-transfer-config with a"
            ' kv_connector, for example {"kv_connector":"NixlConnector","kv_role":"kv_both"}'
        )
        return
    prefill, decode = (str(found[name]["kv_connector"]) for name in (PREFILL, DECODE))
    if prefill != decode:
        yield (
            f"prefill hands blocks over by {prefill} and decode takes them by {decode}: both need"
            " the same connector"
        )
    elif prefill in STORES:
        yield f"{prefill} hands nothing from pod to pod: prefill and decode would never meet"
    for name, config in found.items():
        yield from _refuse_config(name, config)


def _refuse_config(name: str, config: Mapping[str, Any]) -> Iterator[str]:
    way = config.get("kv_role", "")
    if way not in ROLE_OF[name]:
        yield f"{name} has kv_role {way or 'missing'}: it needs {' or '.join(ROLE_OF[name])}"
    if config.get("engine_id"):
        yield f"{name} has an engine_id, which all its pods would share: leave it out"


def transfer_of(part: ReleaseSpec) -> dict[str, Any]:
    """What `--kv-transfer-config` says; empty where it says nothing that can be read."""
    try:
        found = json.loads(values_of(part.arguments).get("--kv-transfer-config") or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
