"""Thinking about the fleet: pure functions over frozen dataclasses, no clock."""
