"""What the gateway and the control plane agree on: snapshots in, usage events out.

Owns: the schemas of the policy and routing snapshots, the usage event, the closed list of
outcomes, the layout of keys in Redis. Does not own: how either side works.
May import: msgspec and the standard library. The apps import nothing else of the gateway.
A change of meaning is a new schema version; a new field with a default is not.
Start reading at `usage.py`.
"""
