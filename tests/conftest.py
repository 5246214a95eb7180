"""What every test has: the database of `plugins/database.py`, and an order that fails early."""

import pytest

from tests.plugins.database import django_db_setup

__all__ = ["django_db_setup"]

# What needs more comes later: the browser, a cluster, a real engine, the whole product.
LATER = ("browser", "cluster", "engine", "e2e")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: max([0, *(LATER.index(m) + 1 for m in LATER if has(item, m))]))


def has(item: pytest.Item, marker: str) -> bool:
    return item.get_closest_marker(marker) is not None
