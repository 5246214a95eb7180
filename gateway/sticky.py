"""Which release answers during a rollout: each conversation stays on one side.

The place of a conversation between 0 and 1 is a hash of rollout, tenant (from the credential) and
the first message of the user, so every worker agrees without a word, a growing share keeps those
who are on the new release already, and other rollouts divide otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Protocol

from gateway.contract.outcomes import TrafficClass
from gateway.contract.routing import Canary, Pool
from gateway.normalise import CHAT, Asked

READ = 1024  # characters from both ends of a message: a hash of all of it would cost for nothing
WHOLE = 2.0**64


class Who(Protocol):
    """Whose request it is, as the credential says."""

    @property
    def tenant_id(self) -> int: ...
    @property
    def application_id(self) -> int: ...
    @property
    def traffic_class(self) -> TrafficClass: ...
    @property
    def conversation(self) -> bytes: ...


def conversation(asked: Asked) -> bytes:
    """What stays the same in all requests of a conversation; empty where nothing does."""
    if asked.path != CHAT:
        return b""
    for message in asked.body["messages"]:
        if message.get("role") == "user":
            text = _text(message.get("content"))
            return f"{len(text)} {text[:READ]}{text[-READ:]}".encode(errors="replace")
    return b""


def _text(content: object) -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    parts = (part.get("text") for part in content if isinstance(part, dict))
    return " ".join(text for text in parts if isinstance(text, str))


def turns(
    canary: Canary | None, who: Who, pools: Sequence[Pool], without: frozenset[str]
) -> tuple[Sequence[Pool], ...]:
    """Groups of pools, the first that has room answers. One group: its weights decide."""
    if canary is None:
        return (pools,)
    new = [pool for pool in pools if pool.release_id == canary.release_id]
    old = [pool for pool in pools if pool.release_id != canary.release_id]
    if not new or not old:
        return (pools,)
    if not takes_part(canary, who):
        return (old,) if _answers(old, without) else (old, new)
    if not who.conversation:
        return (pools,)
    weight = sum(pool.weight for pool in new)
    share = weight / (weight + sum(pool.weight for pool in old) or 1)
    return (new, old) if place(canary, who) < share else (old, new)


def takes_part(canary: Canary, who: Who) -> bool:
    if who.tenant_id in canary.never_tenants:
        return False
    if not (canary.only_tenants or canary.only_applications or canary.only_classes):
        return True
    return (
        who.tenant_id in canary.only_tenants
        or who.application_id in canary.only_applications
        or who.traffic_class in canary.only_classes
    )


def place(canary: Canary, who: Who) -> float:
    """From 0 up to 1, the same whenever and wherever it is asked."""
    joined = b"%d:%d:%b" % (canary.rollout_id, who.tenant_id, who.conversation)
    return int.from_bytes(blake2b(joined, digest_size=8).digest()) / WHOLE


def _answers(pools: Sequence[Pool], without: frozenset[str]) -> bool:
    return any(
        endpoint.address not in without
        for pool in pools
        if pool.weight > 0
        for endpoint in pool.endpoints
    )
