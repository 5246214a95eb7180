"""One at a time: work on a folder that several processes of a user may want to make."""

import contextlib
import fcntl
import time
from collections.abc import Callable, Iterator
from pathlib import Path


@contextlib.contextmanager
def exclusive(path: Path, waiting: Callable[[], None], every: float = 1.0) -> Iterator[None]:
    """Hold the lock file; waiting() is called each `every` seconds while another one has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                waiting()
                time.sleep(every)
        yield
