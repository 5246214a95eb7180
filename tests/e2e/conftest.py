"""One installation for all walks."""

from tests.fixtures.stack import stack, stacks

__all__ = ["stack", "stacks"]
