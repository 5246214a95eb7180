"""What a text may hold to be kept in a table and shown on a page. Pure."""

import unicodedata

NEVER = frozenset({"Cc", "Cs"})  # control characters, NUL among them, and halves of a letter


def is_plain(text: str) -> bool:
    """One line of letters, signs and spaces."""
    return not any(unicodedata.category(letter) in NEVER for letter in text)
