"""What is read ahead is what was asked for, in its order."""

import threading

import pytest

from billing.queries.ahead import ahead


def test_it_gives_all_items_in_their_order():
    assert list(ahead(iter(range(1_000)))) == list(range(1_000))
    assert list(ahead([])) == []
    assert list(ahead([None, (), 0])) == [None, (), 0]


def test_the_next_item_is_on_its_way_while_one_is_worked_on():
    asked = threading.Event()

    def items():
        yield 1
        asked.set()
        yield 2

    found = ahead(items())
    next(found)
    assert asked.wait(60)  # nobody asked for the second one yet
    assert list(found) == [2]


def test_what_goes_wrong_while_reading_is_raised_to_the_one_who_asks():
    def items():
        yield 1
        raise OSError("the line is cut")

    found = ahead(items())
    assert next(found) == 1
    with pytest.raises(OSError, match="the line is cut"):
        next(found)


def test_nothing_is_read_once_it_is_closed():
    read = []

    def items():
        for n in range(100):
            read.append(n)
            yield n

    found = ahead(items())
    next(found)
    found.close()
    assert read == [0, 1]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ahead")]
