"""Literals of PostgreSQL's arrays: the driver takes far longer to write a list."""

from collections.abc import Sequence


def array(values: Sequence[object]) -> str:
    """All texts, or all numbers; none of them is None."""
    if not values:
        return "{}"
    if not isinstance(values[0], str):
        return f"{{{','.join(map(str, values))}}}"
    quoted = {v: _quoted(str(v)) for v in {*values}}  # in a column mostly the same few
    return f"{{{','.join([quoted[v] for v in values])}}}"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
