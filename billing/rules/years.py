"""The years that times may be of: beyond them days have no place in zones and calendars. Pure."""

from datetime import date

FIRST_YEAR, LAST_YEAR = 2000, 2999
FIRST_DAY, LAST_DAY = date(FIRST_YEAR, 1, 1), date(LAST_YEAR, 12, 31)
SAID = f"Choose a time of the years {FIRST_YEAR} to {LAST_YEAR}"


def is_known(at: date) -> bool:
    return FIRST_YEAR <= at.year <= LAST_YEAR
