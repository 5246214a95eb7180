"""One machine that looks like the whole world: stores, a real Kubernetes, engines, traffic.

Owns: `make up` (up), the embedded PostgreSQL and Valkey (stores), the control plane and the GPU
nodes (controlplane, cluster), the engines in the pods (engines), a registry of images and models
(registry), tenants' clients (traffic), faults.
Does not own: anything that runs in production; no app may import it.
May import: the standard library and its dependencies, no app.
Start reading at: up, then cluster/machine.py; docs/developers/sandbox.md has the commands.
"""
