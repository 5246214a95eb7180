"""Thinking without a clock, a database or a network."""
