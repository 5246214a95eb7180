"""Quota: reserve before the work, settle once after it.

Owns: the scripts that run in Redis, the connection they run on, the emergency limits for when it
does not answer. Does not own: what the limits are (policy snapshot) or what a request will need
(`gateway.estimate`).
Start reading at `limiter.py`, then `scripts.py`.
"""
