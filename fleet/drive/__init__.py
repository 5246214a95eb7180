"""One pass each: claim, look, decide, act, record."""
