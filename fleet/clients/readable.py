"""Answers of others as a table takes them.

A container may end with any bytes as its last words, and an engine may answer with them: PostgreSQL
takes no NUL, and one such word would stop whoever has to write it down, again and again.
"""

import re

NUL = re.compile(rb"(?<!\\)((?:\\\\)*)\\u0000")  # in a string of JSON, where it is not text itself


def readable(document: bytes) -> bytes:
    """A document of JSON without NUL."""
    return NUL.sub(rb"\1\\ufffd", document) if b"\\u0000" in document else document


def plain(text: str) -> str:
    return text.replace("\x00", "\ufffd")
