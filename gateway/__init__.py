"""The admission gateway: the data plane in front of the engines.

Owns: one tenant request from its credential to its usage event. Admission, limits in flight,
choice of a pool, the proxied answer, metering. Does not own: who may use what (policy snapshot),
what runs where (routing snapshot), what it costs (billing).
May import: no Django and no other package of the project; of `gateway`, the apps import only
`gateway.contract`.
Start reading at `pipeline.py`.
"""
