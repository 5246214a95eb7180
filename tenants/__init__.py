"""The ground floor: who may use what, and the record of who did what.

Owns: people, roles, tenants, applications, API keys, access tokens, model grants, quotas, change
requests, audit, the policy snapshot. Also what everybody needs: errors, scope, claims, nudges.
Does not own: clusters, releases, traffic (fleet), money (billing), pages (console).
May import: gateway.contract. Others may import: actions, queries, rules, errors, base, nudge.
Start reading at `rules/access.py`, then `base/scope.py`.
"""
