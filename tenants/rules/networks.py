"""From where a token may be used: networks of addresses; none means from anywhere."""

from collections.abc import Iterable, Sequence
from ipaddress import IPv6Address, ip_address, ip_network

MOST = 20


def fault_of_networks(texts: Sequence[str]) -> str:
    if len(texts) > MOST:
        return f"At most {MOST} networks"
    for text in texts:
        try:
            ip_network(text.strip())
        except ValueError as error:
            return f"{text[:60]!r} is no network, as 203.0.113.0/24 or 2001:db8::/48 is: {error}"
    return ""


def canonical(texts: Iterable[str]) -> list[str]:
    """Each once, in one way of writing; an address alone is a network of one."""
    return sorted({str(ip_network(text.strip())) for text in texts})


def is_within(address: str, networks: Sequence[str]) -> bool:
    """An IPv4 address that came through IPv6 counts as what it is."""
    if not networks:
        return True
    try:
        found = ip_address(address)
    except ValueError:
        return False
    if isinstance(found, IPv6Address) and found.ipv4_mapped:
        found = found.ipv4_mapped
    return any(found in ip_network(network) for network in networks)
