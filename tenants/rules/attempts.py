"""Which of many failed sign-ins the evidence tells of."""

from datetime import timedelta

WINDOW = timedelta(hours=1)


def is_told(number: int) -> bool:
    """The first of a window, and then each tenfold: whoever guesses makes few rows of many."""
    return str(number).rstrip("0") == "1"
