"""What a release must pin before it may exist. Each refusal is a sentence with the numbers."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from fleet.rules.groups import MOST_PODS, refuse_roles
from fleet.rules.kv_transfer import AS_USUAL, UNSALTED, Allowed
from fleet.rules.pins import refuse_pins
from fleet.rules.quantity import amount
from fleet.rules.release import KV_LEASE, ModelPin, ReleaseSpec
from fleet.rules.topology import refuse_clique, refuse_topology
from fleet.rules.vllm_args import number_of, refusals, values_of

COMMIT = re.compile(r"[0-9a-f]{40}")
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
REFERENCE = re.compile(
    r"(?P<repo>[a-z0-9][^@\s]*?)(?::(?P<tag>[\w][\w.-]{0,127}))?(?:@(?P<digest>.+))?"
)
REGISTRY = re.compile(r"[a-z0-9.-]+(\.[a-z]+|:[0-9]{1,5})/")
QUANTITY = re.compile(r"[1-9][0-9]*(\.[0-9]+)?(m|[KMGT]i?)?")
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
SECRET = re.compile(r"TOKEN|SECRET|PASSWORD|API_KEY|CREDENTIAL", re.IGNORECASE)
ENVIRONMENT = {
    "VLLM_SERVER_DEV_MODE": "it opens endpoints without authentication that stop the engine",
    "VLLM_KEEP_ALIVE_ON_ENGINE_DEATH": "a dead engine would stay in its pod",
    "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "a release would change after its approval",
    "VLLM_PORT": "it breaks the engine's own ports",
    "HF_HUB_OFFLINE": "the console sets it: a pod never asks the model hub",
    "VLLM_ENGINE_READY_TIMEOUT_S": "the console sets it from startup_seconds",
    "VLLM_ALLOW_INSECURE_SERIALIZATION": "messages could run any code in the engine",
    "VLLM_ALLOW_LONG_MAX_MODEL_LEN": "answers past the positions that a model knows are noise",
    "VLLM_DEBUG_LOG_API_SERVER_RESPONSE": "answers of tenants would be in the log",
    "VLLM_MEDIA_CACHE": "what one tenant had fetched would be there for others",
    "VLLM_MEDIA_URL_ALLOW_REDIRECTS": "a host that may be asked could send the engine anywhere",
    "VLLM_PLUGINS": "it loads Python that no digest of the release covers",
    "VLLM_USE_MODELSCOPE": "the commit is of the model hub",
    "PYTHONPATH": "it can replace any code of the image",
    "LD_PRELOAD": "it can replace any code of the image",
}
GIB = 2**30
GATEWAYS_LAG = 3  # seconds until each gateway has left a replica that goes away
EXIT = 8  # seconds that vLLM takes to exit after its last request, as measured


@dataclass(frozen=True, slots=True)
class Image:
    repository: str
    tag: str  # a label for people; never used to pull
    digest: str


@dataclass(frozen=True, slots=True)
class Limits:
    """What the surroundings allow. `largest_node`: GPUs of the largest node, None: not observed.
    `others`: both numbers for GPU products that roles ask for instead.
    """

    max_model_len: int  # promised to the service's clients
    largest_node: int | None = None
    largest_clique: int = 0  # GPUs of the largest fabric clique
    transfer: Allowed = AS_USUAL
    others: Mapping[str, tuple[int | None, int]] | None = None

    def of(self, product: str) -> "Limits":
        node, clique = (self.others or {}).get(product, (self.largest_node, self.largest_clique))
        return replace(self, largest_node=node, largest_clique=clique)


def read_image(reference: str) -> Image:
    """Split "repository[:tag]@sha256:..."; raise ValueError where the digest is missing."""
    found = REFERENCE.fullmatch(reference.strip())
    if not found:
        raise ValueError(f"{reference!r} is not an image reference")
    if not found["digest"]:
        what = f"the tag {found['tag']!r}" if found["tag"] else "no digest"
        raise ValueError(
            f"{reference} has {what}, which can point to another image tomorrow:"
            " give repository@sha256:... with 64 hexadecimal digits"
        )
    if not DIGEST.fullmatch(found["digest"]):
        raise ValueError(f"{found['digest']} is not a digest: sha256: and 64 hexadecimal digits")
    return Image(found["repo"], found["tag"] or "", found["digest"])


def refuse_commit(value: str, what: str, name: str) -> str:
    if COMMIT.fullmatch(value) or DIGEST.fullmatch(value):
        return ""
    if not value:
        return f"{what} is missing: give the 40-hex commit of {name}"
    return (
        f"{what}: {value!r} is a branch, a tag or a short hash, which moves or is not unique."
        f" Give the 40-hex commit of {name}, or sha256: of an artifact"
    )


def refuse_model(pin: ModelPin) -> Iterator[tuple[str, str]]:
    """Yield (field, sentence)."""
    if not pin.name or re.search(r"\s", pin.name):
        yield "model", "Name the model: organisation/repository, or a path inside the image"
    if sentence := refuse_commit(pin.commit, "The commit", pin.name):
        yield "commit", sentence
    for field, value in (
        ("tokenizer_commit", pin.tokenizer_commit),
        ("code_commit", pin.code_commit),
    ):
        if value and (sentence := refuse_commit(value, field, pin.name)):
            yield field, sentence
    if pin.chat_template_digest and not DIGEST.fullmatch(pin.chat_template_digest):
        yield "chat_template_digest", "Give sha256: and 64 hexadecimal digits"
    if pin.is_artifact and not REGISTRY.match(pin.name):
        yield "model", f"{pin.name} is pinned by a digest, so its name begins with its registry"
    if pin.is_path and not DIGEST.fullmatch(pin.commit):
        yield "commit", f"{pin.name} is a path: pin what lies there by sha256: of the artifact"


def refuse_moved(label: str, now: str, before: Iterable[tuple[str, str]]) -> str:
    """`before`: (what the label meant, where it was used). A label means one thing for ever."""
    for meant, where in before:
        if label and meant != now:
            return (
                f"{label} moved: in {where} it meant {meant[:19]}, now {now[:19]}."
                " Check which one you mean, then give it without the label, or under a new one"
            )
    return ""


def refuse_release(spec: ReleaseSpec, limits: Limits) -> Iterator[tuple[str, str]]:
    """Yield (field, sentence) for everything that makes this release impossible."""
    yield from refuse_model(spec.model)
    yield from (("environment", sentence) for sentence in refuse_environment(spec))
    yield from refuse_pins(spec.pins, spec.service, spec.arguments)
    yield from (("probes", sentence) for sentence in refuse_probes(spec))
    yield from (("roles", sentence) for sentence in refuse_roles(spec))
    if not spec.roles:
        yield from refuse_pod(spec, limits)
    for role in spec.roles:
        part = spec.part(role)
        found = refuse_pod(part, limits.of(part.resources.gpu_product))
        yield from (("roles", f"{role.name}: {sentence}") for _, sentence in found)


def refuse_pod(spec: ReleaseSpec, limits: Limits) -> Iterator[tuple[str, str]]:
    """What makes one pod impossible, whatever others are beside it."""
    yield from (("arguments", sentence) for sentence in refusals(spec.arguments, limits.transfer))
    yield from (("resources", sentence) for sentence in refuse_resources(spec, limits))
    length = number_of(values_of(spec.arguments), "--max-model-len", limits.max_model_len)
    if length < limits.max_model_len:
        yield (
            "arguments",
            f"--max-model-len {length:,} is less than the {limits.max_model_len:,} tokens that"
            f" {spec.service} promises its clients: change the service first",
        )


def refuse_environment(spec: ReleaseSpec) -> Iterator[str]:
    for name in spec.environment:
        if not VARIABLE.fullmatch(name):
            yield f"{name!r} is not a name of an environment variable"
        elif name in ENVIRONMENT:
            yield f"{name} is refused: {ENVIRONMENT[name]}"
        elif SECRET.search(name):
            yield f"{name} looks like a secret, and a release is readable by everybody"


def refuse_resources(spec: ReleaseSpec, limits: Limits) -> Iterator[str]:
    have = spec.resources.gpus
    if have < 1:
        yield "A replica needs at least one GPU"
        return
    values = values_of(spec.arguments)
    tensor = number_of(values, "--tensor-parallel-size", 1)
    pipeline = number_of(values, "--pipeline-parallel-size", 1)
    data = number_of(values, "--data-parallel-size-local", 0)
    data = data or number_of(values, "--data-parallel-size", 1)
    need = tensor * pipeline * data
    size, whole = spec.resources.group_size, have * spec.resources.group_size
    yield from refuse_group(spec, data)
    if need != whole:
        product = f"tensor {tensor} x pipeline {pipeline} x data {data} = {need}"
        gets = f"{have}" if size == 1 else f"{size} pods x {have} = {whole}"
        end = f"{need - whole} missing" if need > whole else f"{whole - need} would stay idle"
        yield f"The arguments use {product} GPUs, the replica gets {gets}: {end}"
    if limits.largest_node is not None and have > limits.largest_node:
        product = spec.resources.gpu_product or "GPU"
        pod = "replica" if size == 1 else "pod"
        apart = (
            f"; its fabric clique has {limits.largest_clique}, but a {pod} does not span nodes:"
            f" {_apart(whole, limits.largest_node)}"
            if limits.largest_clique >= whole
            else ""
        )
        yield (
            f"A {pod} of {have} {product} fits on no node: the largest has"
            f" {limits.largest_node}{apart}"
        )
    yield from refuse_clique(spec.resources, limits.largest_node, limits.largest_clique)
    yield from refuse_memory(spec)
    for name in ("cpu", "memory", "shared_memory"):
        value = getattr(spec.resources, name)
        if not QUANTITY.fullmatch(value):
            yield f"{name}: {value!r} is not a quantity such as 8, 500m or 64Gi"


def refuse_group(spec: ReleaseSpec, data: int) -> Iterator[str]:
    """What an engine over several pods cannot be."""
    size = spec.resources.group_size
    if not 1 <= size <= MOST_PODS:
        yield f"group_size {size}: between 1 and {MOST_PODS} pods are one engine"
    yield from refuse_topology(spec.resources)
    if size == 1:
        return
    if spec.service[:1].isdigit():
        yield (
            f"group_size {size}: {spec.service} begins with a digit. Its pods would find each"
            " other by a Service or a LeaderWorkerSet of that name, which must begin with a letter"
        )
    if data > 1:
        yield (
            f"data {data} over {size} pods: engines that compute apart need no group, so give more"
            " replicas"
        )
    if values_of(spec.arguments).get("--distributed-executor-backend", "mp") != "mp":
        yield f"--distributed-executor-backend must be mp where an engine spans {size} pods"


def _apart(gpus: int, most: int) -> str:
    """How an engine of so many GPUs can be had on nodes of so many."""
    pods = next((n for n in range(2, MOST_PODS + 1) if not gpus % n and gpus // n <= most), 0)
    if not pods:
        return f"and {gpus} GPUs on nodes of {most} need more than {MOST_PODS} pods"
    return f"ask for a group of {pods} pods with {gpus // pods} GPUs each"


def refuse_memory(spec: ReleaseSpec) -> Iterator[str]:
    """What is moved out of the cards must fit into the container."""
    values, memory = values_of(spec.arguments), amount(spec.resources.memory)
    cache = float(values.get("--kv-offloading-size") or 0)
    weights = float(values.get("--cpu-offload-gb") or 0) * spec.resources.gpus
    if memory is not None and (need := cache + weights) * GIB >= memory:
        yield (
            f"{need:.0f} GiB of cache and weights lie in the memory of the replica, which has"
            f" {spec.resources.memory} for everything: ask for more memory"
        )


def refuse_probes(spec: ReleaseSpec) -> Iterator[str]:
    p = spec.probes
    if not 10 <= p.startup_seconds <= 14_400:
        yield f"startup_seconds {p.startup_seconds}: between 10 and 14,400 (4 h)"
    if not 0 <= p.pre_stop_seconds <= 120:
        yield f"pre_stop_seconds {p.pre_stop_seconds}: between 0 and 120"
    if not 1 <= p.drain_seconds <= 3_600:
        yield f"drain_seconds {p.drain_seconds}: between 1 and 3,600"
    if not 1 <= p.teardown_seconds <= 300:
        yield f"teardown_seconds {p.teardown_seconds}: between 1 and 300"
    if not KV_LEASE <= p.kv_lease_seconds <= 600:
        yield f"kv_lease_seconds {p.kv_lease_seconds}: between {KV_LEASE} and 600"


def warnings_of(spec: ReleaseSpec, *, request_seconds: int) -> list[str]:
    """What is allowed but should be known before it is rolled out."""
    found = []
    if spec.probes.drain_seconds < request_seconds:
        found.append(
            f"Requests longer than {spec.probes.drain_seconds} s are cut when a replica goes away;"
            f" the service allows {request_seconds} s"
        )
    found += times_of(spec)
    if used := [name for name in sorted(UNSALTED) if _uses(spec, name)]:
        found.append(
            f"{used[0]} finds blocks without a salt: tenants of one replica share cached prompts"
        )
    if "--trust-remote-code" in spec.arguments and not spec.model.code_commit:
        found.append("--trust-remote-code runs code of the model's repository at its commit")
    if not spec.resources.gpu_product:
        found.append("No GPU product is named: replicas may land on different cards")
    return found


def times_of(spec: ReleaseSpec) -> Iterator[str]:
    """Grace of the pod: wait, then drain, then teardown."""
    p = spec.probes
    if p.pre_stop_seconds < GATEWAYS_LAG:
        yield (
            f"A replica that goes away drains after {p.pre_stop_seconds} s, and gateways may send"
            f" it requests for {GATEWAYS_LAG} s: those are answered with 500 and sent elsewhere"
        )
    if spec.roles and p.pre_stop_seconds < KV_LEASE:
        yield (
            f"A prefill pod that goes away ends {p.pre_stop_seconds} s after its traffic; a decode"
            f" may fetch its blocks for {KV_LEASE} s: those that come later read the prompt again"
            " where kv_load_failure_policy is recompute, and fail otherwise"
        )
    if p.teardown_seconds < EXIT:
        yield (
            f"vLLM takes up to {EXIT} s to exit after its last request and is killed after"
            f" {p.teardown_seconds} s"
        )


def _uses(spec: ReleaseSpec, connector: str) -> bool:
    every = [spec.part(role).arguments for role in spec.roles] or [spec.arguments]
    return any(f'"{connector}"' in values_of(a).get("--kv-transfer-config", "") for a in every)
