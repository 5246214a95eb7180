"""Asking again until something is there."""

import time


def wait(what: str, check, seconds: float = 60.0, every: float = 0.02):
    """Ask again and again until `check` answers with something.

    Seldom where nothing is measured: asking takes the CPU away from what is asked about.
    """
    ends = time.monotonic() + seconds
    while not (found := check()):
        if time.monotonic() > ends:
            raise TimeoutError(f"{what}: not within {seconds:.0f} s")
        time.sleep(every)
    return found
