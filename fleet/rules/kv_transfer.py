"""`--kv-transfer-config`: which connectors may move KV blocks, and how. A sentence a fault."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

CONNECTORS = frozenset(
    [
        "DecodeBenchConnector",
        "ExampleConnector",
        "ExampleHiddenStatesConnector",
        "FlexKVConnectorV1",
        "HF3FSKVConnector",
        "HiSparseConnector",
        "LMCacheConnectorV1",
        "LMCacheMPConnector",
        "MoRIIOConnector",
        "MooncakeConnector",
        "MooncakeStoreConnector",
        "MultiConnector",
        "NixlConnector",
        "NixlPullConnector",
        "NixlPushConnector",
        "OffloadingConnector",
        "SimpleCPUOffloadConnector",
    ]
)
# They look blocks up by tokens alone, without the salt that keeps tenants' caches apart.
UNSALTED = frozenset(
    ["ExampleConnector", "FlexKVConnectorV1", "HF3FSKVConnector", "LMCacheConnectorV1"]
)
NOT_FOR_SERVING = frozenset(["DecodeBenchConnector", "ExampleHiddenStatesConnector"])
USUAL = CONNECTORS - UNSALTED - NOT_FOR_SERVING
KEYS = frozenset(
    [
        "enable_permute_local_kv",
        "engine_id",
        "kv_buffer_device",
        "kv_connector",
        "kv_connector_extra_config",
        "kv_connector_module_path",
        "kv_load_failure_policy",
        "kv_port",
        "kv_role",
    ]
)
ROLES = ("kv_producer", "kv_consumer", "kv_both")
POLICIES = ("fail", "recompute")


@dataclass(frozen=True, slots=True)
class Allowed:
    """By the settings of this console."""

    connectors: frozenset[str] = USUAL
    modules: frozenset[str] = frozenset()  # for kv_connector_module_path


AS_USUAL = Allowed()


def refuse_transfer(value: str, allowed: Allowed) -> Iterator[str]:
    """`value` is JSON already checked by the caller."""
    parsed = json.loads(value)
    if not isinstance(parsed, dict):
        yield "--kv-transfer-config needs a JSON object"
        return
    if '"enforce_handshake_compat": false' in json.dumps(parsed):
        yield ("--kv-transfer-config: enforce_handshake_compat false would mix KV of two releases")
    yield from (f"--kv-transfer-config: {s}" for s in _connector(parsed, allowed))


def _connector(parsed: Mapping[str, Any], allowed: Allowed) -> Iterator[str]:
    for key in sorted(parsed.keys() - KEYS):
        yield f"vLLM 0.32 has no {key}"
    name, module = parsed.get("kv_connector"), parsed.get("kv_connector_module_path")
    if module and module not in allowed.modules:
        yield (
            f"kv_connector_module_path would load {module}, which no digest of the release covers;"
            " add it to QM_KV_CONNECTOR_MODULES after a review of the image"
        )
    elif name and not module:
        yield from _name(str(name), allowed)
    if name and parsed.get("kv_role") not in ROLES:
        yield "a connector needs kv_role kv_producer, kv_consumer or kv_both"
    policy = parsed.get("kv_load_failure_policy", "fail")
    if policy not in POLICIES:
        yield f"kv_load_failure_policy is fail or recompute, not {policy!r}"
    yield from _inner(parsed, allowed)


def _name(name: str, allowed: Allowed) -> Iterator[str]:
    if name not in CONNECTORS:
        yield f"vLLM 0.32 has no connector {name}"
    elif name not in allowed.connectors:
        why = "it is not for serving" if name in NOT_FOR_SERVING else "it is not allowed here"
        if name in UNSALTED:
            why = "it finds blocks without the salt that keeps tenants' caches apart"
        yield f"{name} is refused: {why}. QM_KV_CONNECTORS lists what this console allows"


def _inner(parsed: Mapping[str, Any], allowed: Allowed) -> Iterator[str]:
    """A MultiConnector holds others."""
    extra = parsed.get("kv_connector_extra_config", {})
    if not isinstance(extra, dict):
        yield "kv_connector_extra_config needs an object"
        return
    inner = extra.get("connectors", [])
    if parsed.get("kv_connector") != "MultiConnector":
        return
    if not isinstance(inner, list) or not inner:
        yield "a MultiConnector needs connectors in its kv_connector_extra_config"
        return
    for one in inner:
        if not isinstance(one, dict):
            yield "each of the connectors is an object"
            continue
        yield from _connector(one, allowed)
