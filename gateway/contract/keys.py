"""Names in Redis. Everything here can be lost and is rebuilt: PostgreSQL is the truth.

A snapshot is written as an immutable document first, then the pointer moves, then the channel
rings. A reader that finds a pointer without its document keeps what it has.
"""

POLICY_CURRENT = "qm:policy:current"  # the version, a number
ROUTING_CURRENT = "qm:routing:current"
POLICY_CHANNEL = "qm:policy"  # message: the version
ROUTING_CHANNEL = "qm:routing"
REVOKED_CHANNEL = "qm:revoked"  # message: the hexadecimal hash of a key
WAKE_CHANNEL = "qm:wake"  # message: the id of a service that sleeps and has a request waiting
REPORT_SECONDS = 15
SNAPSHOT_SECONDS = 86_400  # old documents stay for requests that were admitted with them


def policy_doc(version: int) -> str:
    return f"qm:policy:v{version}"


def routing_doc(version: int) -> str:
    return f"qm:routing:v{version}"


def report(worker: str) -> str:
    return f"qm:report:{worker}"


REPORTS = "qm:report:*"


def rate(tenant_id: int, limit_id: int, kind: str) -> str:
    """Theoretical arrival time of a GCRA limit; `kind` is "rpm" or "tpm"."""
    return f"{{t{tenant_id}}}:{kind}:{limit_id}"


def leases(tenant_id: int, limit_id: int) -> str:
    """Sorted set of running requests, scored by the expiry of their lease."""
    return f"{{t{tenant_id}}}:leases:{limit_id}"


def budget(tenant_id: int, limit_id: int, period: str, kind: str = "money") -> str:
    """Hash with `spent`, `held` and `gen`. Without `gen` it was lost.

    `kind`: money (micro-units), input_tokens, output_tokens or tokens.
    """
    name = "budget" if kind == "money" else f"budget-{kind}"
    return f"{{t{tenant_id}}}:{name}:{limit_id}:{period}"


def reservation(tenant_id: int, reservation_id: str) -> str:
    """Hash of one reservation: what is held where, so that it is settled exactly once."""
    return f"{{t{tenant_id}}}:res:{reservation_id}"


def open_reservations(tenant_id: int) -> str:
    """Sorted set of a tenant's open reservations, scored by the expiry of their lease.

    The janitor settles what is long past its expiry: the worker that held it is gone.
    """
    return f"{{t{tenant_id}}}:open"


# Writes what the ledger knows into `budget()`. KEYS: the hash. ARGV: spent, gen, seconds to live.
# The gateway counts what it settles at once, the ledger some seconds later, so a lower figure is
# late news and must not give spent units back; a new `gen` is taken as it is.
PUBLISH_BUDGET = """
if redis.call('HGET', KEYS[1], 'gen') == ARGV[2] then
  local spent = tonumber(redis.call('HGET', KEYS[1], 'spent') or '0')
  if tonumber(ARGV[1]) > spent then redis.call('HSET', KEYS[1], 'spent', ARGV[1]) end
else
  redis.call('HSET', KEYS[1], 'spent', ARGV[1], 'gen', ARGV[2])
end
return redis.call('EXPIRE', KEYS[1], ARGV[3])
"""
