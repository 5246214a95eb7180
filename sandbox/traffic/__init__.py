"""The demo's clients: tenants that ask the gateway all day, with habits of their own.

Owns: rhythm, lengths, bursts, cancellations. Does not own: keys and models, which the demo made.
May import: aiohttp and the standard library; it speaks to the gateway's public door only.
Start reading at `profile.py` (pure), then `clients.py`.
"""
