"""Whose log is kept with a rollout, how much of it, and what is masked in it. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from fleet.rules.seen import Pod, Side

LINES = 400
BYTES = 65_536
AT_ONCE = 2  # pods of one pass
PER_ROLLOUT = 8  # pods
MASK = "[masked]"
STUCK = frozenset({"CrashLoopBackOff", "RunContainerError", "CreateContainerError"})
SECRETS = (
    re.compile(r"\bhf_[A-Za-z0-9]{8,}"),
    re.compile(r"\bsk-[A-Za-z0-9_-]{8,}"),
    re.compile(r"\bAKIA[0-9A-Z]{16}\b"),
    re.compile(r"\beyJ[\w-]{8,}\.[\w-]+\.[\w-]*"),  # JWT
    re.compile(r"(?i)(?<=bearer )[^\s'\",]+"),
    re.compile(r"(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"),  # user:password@host
    re.compile(
        r"(?i)(?<![a-z0-9])((?:[a-z0-9]+[_-])*(?:api[_-]?key|token|secret|password|passwd)"
        r"['\"]?\s*[=:]\s*['\"]?)[^\s'\",}]{6,}"
    ),
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """One log to read."""

    pod: Pod
    previous: bool


def logs_wanted(side: Side, known: Mapping[str, int], *, leaving: bool) -> list[Wanted]:
    """Of pods that failed; `leaving`: of those as well that run and never got ready.

    `known`: restarts of pods when their log was read last. A container that began again since
    has a newer one.
    """
    new = [p for p in side.pods if p.uid not in known or known[p.uid] < p.restarts or leaving]
    chosen = [p for p in new if p.node and (failed(p) or (leaving and not p.loaded))]
    room = max(PER_ROLLOUT - len(known), 0)
    unknown = {p.uid for p in [p for p in chosen if p.uid not in known][room:]}
    chosen = [p for p in chosen if p.uid not in unknown]
    chosen.sort(key=lambda p: (not failed(p), p.created_at))
    return [
        Wanted(pod, previous)
        for pod in chosen[:AT_ONCE]
        for previous in ((True, False) if pod.restarts else (False,))
    ]


def failed(pod: Pod) -> bool:
    return bool(pod.exit_code) or pod.waiting in STUCK


def kept_text(text: str) -> str:
    """The last lines, within the bound, secrets masked."""
    lines = masked(text).splitlines()[-LINES:]
    whole = "\n".join(lines).replace("\x00", "")
    return whole.encode()[-BYTES:].decode(errors="ignore")


def masked(text: str) -> str:
    """What looks like a credential is replaced; the name before it stays."""
    for pattern in SECRETS:
        text = pattern.sub(lambda m: (m.group(1) if m.groups() else "") + MASK, text)
    return text
