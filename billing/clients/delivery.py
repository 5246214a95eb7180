"""Signed delivery over HTTP: one message, one answer, by the rules of Standard Webhooks or of S3.

Addresses come from people, so they are not trusted. The name is resolved here and only public
addresses are taken; the connection goes to exactly the address that was looked at, so a name that
changes its mind in between leads nowhere. Redirects and proxies of the environment are not used.
"""

import base64
import hashlib
import hmac
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

import httpx

from billing.clients.sigv4 import Credential, canonical_path, sign_request

PREFIX = "whsec_"
CHUNK = 1 << 20
READ = 500  # of an answer, for the history
TIMEOUT = httpx.Timeout(30, connect=10)
LATER = frozenset({408, 425, 429})  # besides 5xx: what another try may heal
AGENT = "Quartermaster"
SIGNED = frozenset({"Host", "Content-Type"})  # of an upload, besides those of the store
Address = IPv4Address | IPv6Address
NAT64 = IPv6Network("64:ff9b::/96")


@dataclass(frozen=True, slots=True)
class Bucket:
    region: str
    access_key: str


@dataclass(frozen=True, slots=True)
class Message:
    """`key` is the same in every try of one delivery: the receiver takes it once."""

    url: str
    key: str
    secret: str  # whsec_...
    body: bytes | Path
    content_type: str
    method: str = "POST"
    headers: dict[str, str] = field(default_factory=dict)
    bucket: Bucket | None = None  # then `secret` is of its store, which has a signature of its own


@dataclass(frozen=True, slots=True)
class Answer:
    """`why` is empty when the receiver took the message."""

    status: int | None  # None: nobody answered
    why: str = ""
    is_final: bool = False  # another try would end the same way

    @property
    def taken(self) -> bool:
        return not self.why


class Refused(Exception):
    """The message must not be sent there; the text says why and what to do."""


class Unresolved(Exception):
    """The name has no address now."""


def send(message: Message, *, now: datetime, allow_private: bool = False) -> Answer:
    """Deliver once. Never raises for what the other side or the network does."""
    try:
        parts = read_url(message.url, allow_private=allow_private)
        address = find_address(parts, allow_private=allow_private)
    except Refused as refusal:
        return Answer(None, str(refusal), is_final=True)
    except Unresolved as error:
        return Answer(None, str(error))
    if message.bucket:  # sent as it is signed
        parts = parts._replace(path=canonical_path(parts.path))
    headers = message.headers | {
        "Host": parts.netloc,
        "User-Agent": AGENT,
        "Content-Type": message.content_type,
        "Content-Length": str(size_of(message.body)),
    }
    if message.bucket:
        headers |= sign_upload(message, headers, parts.path, now)
    else:
        headers |= sign(message, now)
    try:
        with (
            httpx.Client(timeout=TIMEOUT, trust_env=False, follow_redirects=False) as client,
            client.stream(
                message.method,
                place_of(parts, address),
                headers=headers,
                content=chunks(message.body),
                extensions={"sni_hostname": parts.hostname},
            ) as answer,
        ):
            return judge(answer)
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        return Answer(None, f"{type(error).__name__}: {error}"[:READ])


def judge(answer: httpx.Response) -> Answer:
    status = answer.status_code
    if answer.is_success:
        return Answer(status)
    if answer.is_redirect:
        return Answer(
            status,
            f"It answered {status} and leads elsewhere: enter the address that it leads to",
            is_final=True,
        )
    said = next(answer.iter_bytes(READ), b"").decode(errors="replace").strip()
    why = f"It answered {status}: {said}" if said else f"It answered {status}"
    return Answer(status, why[:READ], is_final=status < 500 and status not in LATER)


def read_url(url: str, *, allow_private: bool) -> SplitResult:
    """The parts of an address that can be delivered to. Plain HTTP where private is allowed."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise Refused(f"This is no address: {error}") from error
    schemes = ("https", "http") if allow_private else ("https",)
    if parts.scheme not in schemes or not parts.hostname or port == 0:
        raise Refused(f"Give an address that begins with {schemes[0]}:// and names a host")
    if parts.username or parts.password:
        raise Refused("Leave user and password out of the address: messages are signed instead")
    return parts


def refuse_url(url: str, *, allow_private: bool) -> str:
    """Why nothing can be delivered there, as far as the address itself tells; empty when it can.

    Names are looked up when something is sent.
    """
    try:
        host = read_url(url, allow_private=allow_private).hostname or ""
    except Refused as refusal:
        return str(refusal)
    try:
        address = ip_address(host)
    except ValueError:
        return ""
    return "" if allow_private or is_public(address) else f"{address} is not a public address"


def find_address(parts: SplitResult, *, allow_private: bool) -> Address:
    """The address to connect to. One private address among public ones refuses the name."""
    host = parts.hostname or ""
    try:
        found = socket.getaddrinfo(host, parts.port or 443, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Unresolved(f"{host} has no address: {error}") from error
    addresses = [ip_address(str(place[0]).partition("%")[0]) for *_, place in found]
    inside = [a for a in addresses if not is_public(a)]
    if inside and not allow_private:
        raise Refused(
            f"{host} is at {inside[0]}, which is not a public address. An administrator allows "
            "private ones with QM_ALLOW_PRIVATE_DELIVERY"
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
    return address.is_global and not address.is_multicast


def place_of(parts: SplitResult, address: Address) -> str:
    host = f"[{address}]" if isinstance(address, IPv6Address) else str(address)
    port = f":{parts.port}" if parts.port else ""
    return parts._replace(netloc=f"{host}{port}", fragment="").geturl()


def sign(message: Message, now: datetime) -> dict[str, str]:
    """HMAC-SHA256 of id, time and body, as Standard Webhooks writes it."""
    stamp = str(int(now.timestamp()))
    digest = hmac.new(key_of(message.secret), f"{message.key}.{stamp}.".encode(), "sha256")
    for part in chunks(message.body):
        digest.update(part)
    return {
        "Idempotency-Key": message.key,
        "webhook-id": message.key,
        "webhook-timestamp": stamp,
        "webhook-signature": "v1," + base64.b64encode(digest.digest()).decode(),
    }


def sign_upload(
    message: Message, headers: dict[str, str], path: str, now: datetime
) -> dict[str, str]:
    """As S3 asks for it: what tells about the object is signed, and the digest of its bytes."""
    assert message.bucket is not None
    digest = hashlib.sha256()
    for part in chunks(message.body):
        digest.update(part)
    told = {n: v for n, v in headers.items() if n in SIGNED or n.startswith("x-amz-")}
    credential = Credential(message.bucket.access_key, message.secret, message.bucket.region)
    return sign_request(
        message.method, path, told, digest.hexdigest(), credential=credential, now=now
    )


def make_secret(raw: bytes) -> str:
    return PREFIX + base64.b64encode(raw).decode()


def key_of(secret: str) -> bytes:
    return base64.b64decode(secret.removeprefix(PREFIX))


def size_of(body: bytes | Path) -> int:
    return len(body) if isinstance(body, bytes) else body.stat().st_size


def chunks(body: bytes | Path) -> Iterator[bytes]:
    if isinstance(body, bytes):
        yield body
        return
    with body.open("rb") as data:
        while part := data.read(CHUNK):
            yield part
