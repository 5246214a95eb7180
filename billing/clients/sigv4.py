"""AWS Signature Version 4, as S3-compatible stores ask for it: one request, signed in its headers.

https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
"""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote, unquote

ALGORITHM = "AWS4-HMAC-SHA256"


@dataclass(frozen=True, slots=True)
class Credential:
    access_key: str
    secret_key: str
    region: str
    service: str = "s3"


def canonical_path(path: str) -> str:
    """The path as it is signed, and so as it must be sent: encoded once, nothing left out."""
    return quote(unquote(path), safe="/~") or "/"


def sign_request(
    method: str,
    path: str,
    headers: Mapping[str, str],
    payload_sha256: str,
    *,
    credential: Credential,
    now: datetime,
) -> dict[str, str]:
    """The headers to add. All of `headers` are signed, the host among them; there is no query."""
    stamp = now.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    scope = f"{stamp[:8]}/{credential.region}/{credential.service}/aws4_request"
    added = {"x-amz-date": stamp}
    if credential.service == "s3":
        added["x-amz-content-sha256"] = payload_sha256
    signed = {name.lower(): " ".join(v.split()) for name, v in (dict(headers) | added).items()}
    names = ";".join(sorted(signed))
    lines = "".join(f"{name}:{signed[name]}\n" for name in sorted(signed))
    request = "\n".join((method, canonical_path(path), "", lines, names, payload_sha256))
    said = "\n".join((ALGORITHM, stamp, scope, hashlib.sha256(request.encode()).hexdigest()))
    signature = hmac.new(_key(credential, stamp[:8]), said.encode(), "sha256").hexdigest()
    return added | {
        "Authorization": f"{ALGORITHM} Credential={credential.access_key}/{scope},"
        f"SignedHeaders={names},Signature={signature}"
    }


def _key(credential: Credential, day: str) -> bytes:
    """A key of the day, the region and the service, made of the secret."""
    key = f"AWS4{credential.secret_key}".encode()
    for part in (day, credential.region, credential.service, "aws4_request"):
        key = hmac.new(key, part.encode(), "sha256").digest()
    return key
