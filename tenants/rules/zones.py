"""Time zones that a person may choose."""

from functools import cache
from zoneinfo import available_timezones

# What this machine happens to be in is no zone of the database's, and of nobody elsewhere.
OF_A_MACHINE = {"localtime", "Factory"}


@cache
def zones() -> frozenset[str]:
    """By their names in the IANA database."""
    return frozenset(available_timezones() - OF_A_MACHINE)
