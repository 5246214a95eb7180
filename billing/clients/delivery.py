"""Signed delivery over HTTP: one message, one answer, by the rules of Standard Webhooks or of S3.

Where to is judged by `billing.rules.addresses`. The name is resolved here, and the connection goes
to exactly the address that was looked at, so a name that changes its mind in between leads
nowhere. Redirects and proxies of the environment are not used.
"""

import base64
import hashlib
import hmac
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import SplitResult

import httpx

from billing.clients.deadline import deadline
from billing.clients.sigv4 import Credential, canonical_path, sign_request
from billing.rules.addresses import Address, Refused, choose, place_of, read_url

PREFIX = "whsec_"
CHUNK = 1 << 20
READ = 500  # of an answer, for the history
TIMEOUT = httpx.Timeout(30, connect=10)  # of one read or write
# Of the whole: half a minute, and for a file as long as it takes a slow line, at most so long.
SHORTEST, LONGEST = 30.0, 1_200.0
SLOWEST = 64 * 1024  # bytes a second
LATER = frozenset({408, 425, 429})  # besides 5xx: what another try may heal
AGENT = "Quartermaster"
SIGNED = frozenset({"Host", "Content-Type"})  # of an upload, besides those of the store


@dataclass(frozen=True, slots=True)
class Bucket:
    region: str
    access_key: str


@dataclass(frozen=True, slots=True)
class Message:
    """`key` is the same in every try of one delivery: the receiver takes it once."""

    url: str
    key: str
    secret: str  # whsec_...; of several that sign, the newest
    body: bytes | Path
    content_type: str
    method: str = "POST"
    headers: dict[str, str] = field(default_factory=dict)
    previous: str = ""  # the secret before: signs as well
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
    with deadline(seconds_for(message.body)) as until:
        try:
            with (
                httpx.Client(timeout=TIMEOUT, trust_env=False, follow_redirects=False) as client,
                client.stream(
                    message.method,
                    place_of(parts, address),
                    headers=headers,
                    content=chunks(message.body),
                    extensions={"sni_hostname": parts.hostname, "trace": until.trace},
                ) as answer,
            ):
                return judge(answer)
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            if until.is_over:
                return Answer(None, f"It took and gave no whole answer in {until.seconds:.0f} s")
            return Answer(None, f"{type(error).__name__}: {error}"[:READ])


def seconds_for(body: bytes | Path) -> float:
    return min(SHORTEST + size_of(body) / SLOWEST, LONGEST)


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


def find_address(parts: SplitResult, *, allow_private: bool) -> Address:
    """Look the name up and take one of its addresses."""
    host = parts.hostname or ""
    try:
        found = socket.getaddrinfo(host, parts.port or 443, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Unresolved(f"{host} has no address: {error}") from error
    addresses = [ip_address(str(place[0]).partition("%")[0]) for *_, place in found]
    return choose(host, addresses, allow_private=allow_private)


def sign(message: Message, now: datetime) -> dict[str, str]:
    """HMAC-SHA256 of id, time and body, as Standard Webhooks writes it: by each of its secrets."""
    stamp = str(int(now.timestamp()))
    begin = f"{message.key}.{stamp}.".encode()
    used = filter(None, (message.secret, message.previous))
    digests = [hmac.new(key_of(secret), begin, "sha256") for secret in used]
    for part in chunks(message.body):
        for digest in digests:
            digest.update(part)
    signatures = ("v1," + base64.b64encode(digest.digest()).decode() for digest in digests)
    return {
        "Idempotency-Key": message.key,
        "webhook-id": message.key,
        "webhook-timestamp": stamp,
        "webhook-signature": " ".join(signatures),
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
