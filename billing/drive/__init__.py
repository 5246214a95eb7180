"""Passes over what is due: `exports` makes files, `deliveries` sends them, `alerts` sends those."""
