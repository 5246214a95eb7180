"""What runs where: clusters, services, releases, rollouts, and how tenants feel it.

Owns: clusters and nodes, services, model versions, releases and what their references were
resolved to, plans, the queue of rollouts, rollouts, their sequences through several clusters,
gates, approvals of steps, output contracts, drills, whom a rollout hurt and whom it calls, drift,
scaling by load, the change calendar, the routing snapshot, what each GPU did from when until
when, traffic statistics, degradation findings.
Does not own: usage rows and money (billing), people and quotas (tenants). May import: tenants by
its open modules, gateway.contract.
Others may import: actions, queries, rules, errors.
Start reading at `rules/rollout.py`, then `drive/`.
"""
