"""Literals of PostgreSQL's arrays: the driver takes far longer to write a list."""

from collections.abc import Sequence


def array(values: Sequence[object]) -> str:
    """All of one kind: texts, moments, truths or numbers. None is NULL."""
    if not values:
        return "{}"
    if isinstance(values[0], int | float) and None not in values:
        return f"{{{','.join(map(str, values))}}}"
    written = {v: _written(v) for v in {*values}}  # in a column mostly the same few
    return f"{{{','.join([written[v] for v in values])}}}"


def _written(value: object) -> str:
    if value is None:
        return "NULL"
    return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'
