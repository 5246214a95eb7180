"""Read ahead: what comes next is fetched in a thread while what came is worked on."""

from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import TypeVar

T = TypeVar("T")


def ahead(items: Iterable[T]) -> Generator[T]:
    """The same items in the same order, one of them ready before it is asked for.

    The thread touches `items` only between two answers, so nothing is read any more once this is
    closed, and what went wrong there is raised here.
    """
    step = _step(items)
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="ahead") as thread:
        coming = thread.submit(step)
        while found := coming.result():
            coming = thread.submit(step)
            yield from found


def _step(items: Iterable[T]) -> Callable[[], tuple[T, ...]]:
    left = chain(items)
    return lambda: next(((item,) for item in left), ())
