"""Ingest by two processes beside each other, as two web workers of a machine with two cores."""

import multiprocessing
import time
from collections.abc import Sequence

import django

from bench.billing.watch import Watch

WRITERS = 2


def send_by_two(source, bodies: Sequence[bytes], watch: Watch) -> None:
    """Starting the processes is not counted."""
    start = multiprocessing.get_context("spawn")
    gate, spent = start.Barrier(WRITERS + 1), start.SimpleQueue()
    writers = [
        start.Process(target=write, args=(source, bodies[n::WRITERS], gate, spent))
        for n in range(WRITERS)
    ]
    for writer in writers:
        writer.start()
    gate.wait()
    with watch:
        took = [spent.get() for _ in writers]
    watch.python += sum(took)
    for writer in writers:
        writer.join()


def write(source, bodies, gate, spent) -> None:
    django.setup()
    from django.utils import timezone

    from billing.actions.ingest import ingest

    gate.wait()
    began = time.process_time()
    for body in bodies:
        ingest(source, body, now=timezone.now())
    spent.put(time.process_time() - began)
