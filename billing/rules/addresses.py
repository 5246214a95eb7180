"""Where things may be sent to: the one set of rules for receivers of events and of exports.

Addresses come from people, so they are not trusted. What an address tells by itself is judged
here, when it is entered and again before each message; `billing.clients.delivery` looks its name
up, lets `choose` judge what it found, and connects to exactly the address that was chosen.
"""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from urllib.parse import SplitResult, urlsplit

Address = IPv4Address | IPv6Address
LONGEST = 2_000
NAT64 = IPv6Network("64:ff9b::/96")
# Local NAT64, and how IPv4 was once written: to Python both are global.
LOCAL = (IPv6Network("64:ff9b:1::/48"), IPv6Network("::/96"))


class Refused(Exception):
    """Nothing may be sent there; the text says why and what to do."""


def fault_of_url(url: str, *, allow_private: bool) -> str:
    """Why nothing can be sent there, as far as the address itself tells; empty when it can.

    Names are looked up when something is sent.
    """
    try:
        host = read_url(url, allow_private=allow_private).hostname or ""
        choose(host, [ip_address(host)], allow_private=allow_private)
    except Refused as refusal:
        return str(refusal)
    except ValueError:  # a name
        return ""
    return ""


def read_url(url: str, *, allow_private: bool) -> SplitResult:
    """The parts of an address that can be sent to. Plain HTTP where private is allowed."""
    if len(url) > LONGEST:
        raise Refused(f"The address has {len(url):,} characters; {LONGEST:,} are the most")
    if not url.isprintable() or "\\" in url:
        raise Refused("Leave backslashes and invisible characters out of the address")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise Refused(f"This is no address: {error}") from error
    schemes = ("https", "http") if allow_private else ("https",)
    if parts.scheme not in schemes or not parts.hostname or port == 0:
        raise Refused(f"Give an address that begins with {schemes[0]}:// and names a host")
    if not parts.netloc.isascii():  # what is sent names it in a header, which has no other letters
        raise Refused("Write the name of the host without other letters: as xn--… tells it in DNS")
    if " " in parts.netloc:  # in a path it is sent as %20: folders of a bucket may have one
        raise Refused("Leave spaces out of the name of the host")
    if parts.username or parts.password:
        raise Refused("Leave user and password out of the address: messages are signed instead")
    return parts


def choose(host: str, addresses: Sequence[Address], *, allow_private: bool) -> Address:
    """The one to connect to. One private address among public ones refuses the name."""
    inside = [a for a in addresses if not is_public(a)]
    if inside and not allow_private:
        where = host if str(inside[0]) == host else f"{host} is at {inside[0]}, which"
        raise Refused(
            f"{where} is not a public address. An administrator allows private ones with"
            " QM_ALLOW_PRIVATE_DELIVERY"
        )
    return addresses[0]


def is_public(address: Address) -> bool:
    """An IPv4 address inside an IPv6 one counts as what it is."""
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is not None:
            return is_public(inner)
        if address in NAT64:
            return is_public(IPv4Address(int(address) & 0xFFFFFFFF))
        if address.is_site_local or any(address in network for network in LOCAL):
            return False
    return address.is_global and not address.is_multicast


def place_of(parts: SplitResult, address: Address) -> str:
    """The same place, by the address that was chosen instead of its name."""
    host = f"[{address}]" if isinstance(address, IPv6Address) else str(address)
    port = f":{parts.port}" if parts.port else ""
    return parts._replace(netloc=f"{host}{port}", fragment="").geturl()
