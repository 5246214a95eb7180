"""How KV blocks of a release are laid out, and what its engines do with them."""

from collections.abc import Iterator, Mapping
from typing import Any

from fleet.rules.meanings import KV_SHAPING
from fleet.rules.release import ReleaseSpec, digest_json
from fleet.rules.vllm_args import values_of

# Engines of different sizes hand blocks over, each role has its end of the connector, and names of
# blocks stay in the engine that cached them.
OF_EACH = frozenset(
    [
        "--kv-transfer-config",
        "--pipeline-parallel-size",
        "--prefix-caching-hash-algo",
        "--tensor-parallel-size",
    ]
)
USUAL = {"--dtype": "auto", "--kv-cache-dtype": "auto", "--decode-context-parallel-size": "1"}


def layout_of(spec: ReleaseSpec) -> str:
    """A name: equal for two releases only where each can read the other's blocks."""
    values = values_of(spec.arguments)
    shaping = {flag: values[flag] for flag in sorted(values.keys() & KV_SHAPING)}
    content: dict[str, Any] = {
        "model": [spec.model.name, spec.model.commit, spec.model.code_commit],
        "image": spec.image_digest,
        "arguments": shaping,
    }
    if spec.roles:  # each lays blocks out by its own arguments
        content["roles"] = [[role.name, list(role.arguments)] for role in spec.roles]
    return f"kv-{digest_json(content)[:12]}"


def refuse_layouts(parts: Mapping[str, ReleaseSpec]) -> Iterator[str]:
    """A sentence for each flag by which one role would lay blocks out otherwise than another."""
    (one, ours), *others = [(name, values_of(part.arguments)) for name, part in parts.items()]
    for other, theirs in others:
        for flag in sorted(KV_SHAPING - OF_EACH):
            usual = USUAL.get(flag, "not given")
            here, there = (values.get(flag, usual) or "on" for values in (ours, theirs))
            if here != there:
                yield (
                    f"{flag} is {here} at {one} and {there} at {other}: {other} would read blocks"
                    " of another layout than its own, and a release is one KV domain. Give both"
                    " the same"
                )


def policy_of(spec: ReleaseSpec) -> Iterator[str]:
    """What engines do with blocks, in words."""
    values = values_of(spec.arguments)
    if "--no-enable-prefix-caching" in values:
        yield "no beginning of a prompt is cached"
    else:
        algorithm = values.get("--prefix-caching-hash-algo", "sha256")
        yield f"common beginnings are cached, named by {algorithm} with the tenant's salt"
    if size := values.get("--kv-offloading-size"):
        yield f"{size} GiB of blocks may lie in the memory of the host"
    transfers = "--kv-transfer-config" in values
    yield "blocks move by --kv-transfer-config" if transfers else "blocks never leave their engine"
