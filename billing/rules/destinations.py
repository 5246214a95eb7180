"""What a receiver of exports needs, and which receivers make no sense. Their addresses are
judged by `billing.rules.addresses`."""

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

POST, PUT, S3 = "POST", "PUT", "S3"
METHODS = (POST, PUT, S3)
REGION = re.compile(r"[a-z0-9-]{1,32}")
ACCESS_KEY = re.compile(r"[!-~]{3,128}")
SHORTEST_SECRET, LONGEST_SECRET = 8, 256


@dataclass(frozen=True, slots=True)
class Target:
    """Where files go. S3: below the address of a bucket, signed with a key of its store."""

    name: str
    url: str
    method: str = POST
    region: str = ""
    access_key: str = ""

    @property
    def is_bucket(self) -> bool:
        return self.method == S3

    def address_of(self, name: str) -> str:
        """Each file has an address of its own, but where all are sent to one. What an address
        has behind its path stays there: a key in its query, as of a shared container."""
        if self.method == POST:
            return self.url
        parts = urlsplit(self.url)
        return parts._replace(path=f"{parts.path.rstrip('/')}/{name}", fragment="").geturl()


def faults_of_target(target: Target) -> dict[str, str]:
    """Sentences by field; whether its address may be sent to is asked elsewhere."""
    if target.method not in METHODS:
        return {"method": f"There is no method {target.method!r}; there are {', '.join(METHODS)}"}
    faults = {}
    if not 0 < len(target.name.strip()) <= 120:
        faults["name"] = "Give the receiver a name of at most 120 characters"
    return faults | (_faults_of_bucket(target) if target.is_bucket else _faults_of_other(target))


def _faults_of_bucket(target: Target) -> dict[str, str]:
    faults = {}
    if re.search(r"[?#]", target.url):
        faults["url"] = "The address of a bucket has no question mark and no fragment"
    if not REGION.fullmatch(target.region):
        faults["region"] = "Name the region of the bucket, as in eu-central-1"
    if not ACCESS_KEY.fullmatch(target.access_key):
        faults["access_key"] = "Give the id of the access key, of 3 to 128 characters"
    return faults


def _faults_of_other(target: Target) -> dict[str, str]:
    said = "Only a bucket (S3) has one: leave it empty"
    return {field: said for field in ("region", "access_key") if getattr(target, field)}


def fault_of_secret(target: Target, secret: str) -> str:
    """A bucket's key comes from its store; every other receiver's is made here."""
    if not target.is_bucket:
        return "The secret of this receiver is made here: leave it empty" if secret else ""
    if not SHORTEST_SECRET <= len(secret) <= LONGEST_SECRET or not secret.isascii():
        return (
            f"Give the secret access key of the bucket, of {SHORTEST_SECRET} to {LONGEST_SECRET}"
            " characters"
        )
    return ""
