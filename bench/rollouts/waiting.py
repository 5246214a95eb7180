"""Asking again until something is there."""

import time


def wait(what: str, check, seconds: float = 60.0):
    """Ask every 20 ms until `check` answers with something."""
    ends = time.monotonic() + seconds
    while not (found := check()):
        if time.monotonic() > ends:
            raise TimeoutError(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.02)
    return found
