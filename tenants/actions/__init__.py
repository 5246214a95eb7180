"""Writes: one function is one transaction with its audit event and its nudge."""
