"""What people on call are told of the fleet: kind of event, content, mail. Pure."""

from collections.abc import Mapping
from typing import Any

from billing.rules.webhooks import Kind

KINDS: dict[str, Kind] = {  # by fleet.rules.calls.CallKind
    "rollback_blocked": Kind.ROLLBACK_BLOCKED,
    "paused": Kind.ROLLOUT_PAUSED,
    "rolled_back": Kind.ROLLED_BACK,
    "approval_waiting": Kind.APPROVAL_WAITS,
    "approval_expiring": Kind.APPROVAL_EXPIRES,
    "stuck": Kind.STUCK,
}
TITLES: dict[Kind, str] = {
    Kind.ROLLBACK_BLOCKED: "the way back is blocked",
    Kind.ROLLOUT_PAUSED: "a gate paused it",
    Kind.ROLLED_BACK: "it went back by itself",
    Kind.APPROVAL_WAITS: "it waits for an approval",
    Kind.APPROVAL_EXPIRES: "its approval expires soon",
    Kind.STUCK: "it does not get on",
}
OF_SEQUENCES = TITLES | {Kind.ROLLOUT_PAUSED: "it stopped, and nothing else begins"}


def is_call(kind: str) -> bool:
    return kind in {k.value for k in TITLES}


def mail_of_call(document: Mapping[str, Any], address: str) -> tuple[str, str]:
    """Subject and text."""
    data = document["data"]
    again = f" (told {data['times']} times)" if data["times"] > 1 else ""
    label = data["rollout"] or data["sequence"] or data.get("drill", "")
    titles = OF_SEQUENCES if data["sequence"] else TITLES
    subject = f"{label} of {data['service']}: {titles[Kind(document['type'])]}{again}"
    moves = f"{data['from'] or 'nothing'} to {data['to']} in {data['cluster']}"
    until = f"The approval expires at {data['expires_at']}.\n" if data["expires_at"] else ""
    return subject, f"{data['why']}\n\n{moves}, since {data['since']}.\n{until}\n{address}\n"
