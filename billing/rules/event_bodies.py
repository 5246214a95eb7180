"""The body of a batch, as the events in it. Pure; none of them is judged here."""

import json
import re

import msgspec

SPACE = re.compile(r"[ \t\n\r]*")
_decode_batch = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_one = json.JSONDecoder().raw_decode


class NotABatch(ValueError):
    """The body as a whole cannot be read; nothing of it was looked at."""


def read_batch(body: bytes) -> list[bytes]:
    """Split the body into its events without judging them."""
    try:
        text = body.decode()
        try:
            return [bytes(raw) for raw in _decode_batch(body)]
        except msgspec.DecodeError:
            return _one_by_one(text)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise NotABatch(f"The body is not a JSON array of CloudEvents: {error}") from error


def _one_by_one(text: str) -> list[bytes]:
    """By a slower reader that goes on behind half a surrogate pair: it is the fault of one event,
    and no reason to lose the others."""
    found: list[bytes] = []
    place, sign = _sign_at(text, 0)
    if sign != "[":
        raise ValueError("it does not begin with [")
    while sign != "]":
        start, _ = _sign_at(text, place + 1)
        _, end = _decode_one(text, start)
        found.append(text[start:end].encode())
        place, sign = _sign_at(text, end)
        if sign not in (",", "]"):
            raise ValueError(f"neither , nor ] follows event {len(found) - 1}")
    if _sign_at(text, place + 1)[1]:
        raise ValueError("something follows its end")
    return found


def _sign_at(text: str, start: int) -> tuple[int, str]:
    """The next sign that is no space, and where it is; "" at the end."""
    place = SPACE.match(text, start).end()  # type: ignore[union-attr]  # it matches nothing too
    return place, text[place : place + 1]
