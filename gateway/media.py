"""Pictures, sounds and films in a chat: what the request itself holds, or what releases allow.

An engine fetches an address that a message names, from inside the cluster: without a list, whoever
may chat could make it ask any service there. And it keeps what it has read under a name that a
message may give: by such a name one tenant would get what another has sent.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Any

from gateway import errors

ADDRESSES = ("image_url", "audio_url", "video_url")  # members of a part that an engine fetches
NAME = "uuid"  # of what it has read
# Nothing that two readers of URLs could take for different hosts.
FETCHED = re.compile(r"https?://([a-z0-9.-]+)(?::[0-9]{1,5})?(?:[/?#][^\s\\]*)?", re.ASCII | re.I)


def check_media(messages: list[dict[str, Any]], hosts: Collection[str]) -> None:
    """Refuse what an engine would fetch elsewhere than from `hosts`; drop names in its cache."""
    for part in _parts(messages):
        part.pop(NAME, None)
        for member in ADDRESSES:
            given = part.get(member)
            address = given.get("url") if isinstance(given, dict) else given
            if address is not None:
                _check_address(address, member, hosts)


def _parts(messages: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for message in messages:
        content = message.get("content")
        if isinstance(content, list):
            yield from (part for part in content if isinstance(part, dict))


def _check_address(address: object, member: str, hosts: Collection[str]) -> None:
    if not isinstance(address, str):
        raise errors.invalid(f"The address of {member!r} must be a text.", "messages")
    if address[:5].lower() == "data:":
        return
    found = FETCHED.fullmatch(address)
    if found is None or found[1].lower() not in hosts:
        allowed = f", or name one at {', '.join(sorted(hosts))}" if hosts else ""
        message = (
            f"{member!r} names a file that is fetched from elsewhere. Send the file itself, as"
            f" data:...;base64,...{allowed}."
        )
        raise errors.invalid(message, "messages")
