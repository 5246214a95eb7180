"""How many requests somebody may send in a minute, and what is said about it."""

from dataclasses import dataclass
from datetime import timedelta
from ipaddress import ip_address, ip_network

WINDOW = timedelta(minutes=1)
NETWORK = 64  # bits: one site of IPv6, whose addresses its people choose freely


@dataclass(frozen=True, slots=True)
class Rate:
    """So many of `limit` are used; the count begins anew in `seconds`."""

    name: str  # of the policy
    limit: int
    used: int
    seconds: int

    @property
    def is_over(self) -> bool:
        return self.used > self.limit

    @property
    def policy(self) -> str:
        """The field RateLimit-Policy: quota and window."""
        return f'"{self.name}";q={self.limit};w={WINDOW.seconds}'

    @property
    def state(self) -> str:
        """The field RateLimit: what remains, and until when."""
        return f'"{self.name}";r={max(0, self.limit - self.used)};t={self.seconds}'


def group_of(address: str) -> str:
    """Whose failures count together: an IPv4 address, or a site of IPv6."""
    try:
        found = ip_address(address)
    except ValueError:
        return "unknown"
    if found.version == 4:
        return str(found)
    return str(ip_network((int(found), NETWORK), strict=False))
