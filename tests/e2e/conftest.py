"""One installation for all walks."""

from tests.fixtures.stack import stacks

__all__ = ["stacks"]
