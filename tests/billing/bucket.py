"""A store of objects on this machine that checks signatures as S3 does, written from its manual.

It shares nothing with the product: what is signed there is worked out here from what came.
"""

import hashlib
import hmac
from contextlib import AbstractContextManager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.fixtures.serving import serving

ACCESS_KEY, SECRET_KEY, REGION = "AKIATEST", "a secret+key/of the store", "eu-central-1"


class Bucket(ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.objects: dict[str, bytes] = {}  # in the order in which they came
        self.told: dict[str, dict[str, str]] = {}
        self.answers: list[tuple[int, str]] = []  # refusals of the next requests

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/finance/usage files"


class Handler(BaseHTTPRequestHandler):
    server: Bucket

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        refusal = self.server.answers.pop(0) if self.server.answers else self.refusal(body)
        if refusal:
            return self.answer(refusal[0], f"<Error><Code>{refusal[1]}</Code></Error>")
        self.server.objects[self.path] = body
        self.server.told[self.path] = {k.lower(): v for k, v in self.headers.items()}
        return self.answer(200, "")

    def refusal(self, body: bytes) -> tuple[int, str] | None:
        if hashlib.sha256(body).hexdigest() != self.headers.get("x-amz-content-sha256"):
            return 400, "XAmzContentSHA256Mismatch"
        scheme, _, rest = self.headers.get("Authorization", "").partition(" ")
        given = dict(part.strip().split("=", 1) for part in rest.split(","))
        access_key, *scope = given["Credential"].split("/")
        stamp = self.headers["x-amz-date"]
        if scheme != "AWS4-HMAC-SHA256" or scope != [stamp[:8], REGION, "s3", "aws4_request"]:
            return 400, "AuthorizationHeaderMalformed"
        if access_key != ACCESS_KEY:
            return 403, "InvalidAccessKeyId"
        names = given["SignedHeaders"].split(";")
        unsigned = [n.lower() for n in self.headers if n.lower().startswith("x-amz-")]
        if {"host", *unsigned} - set(names):
            return 403, "AccessDenied"
        if not hmac.compare_digest(self.signature(names, stamp, scope), given["Signature"]):
            return 403, "SignatureDoesNotMatch"
        return None

    def signature(self, names: list[str], stamp: str, scope: list[str]) -> str:
        path, _, query = self.path.partition("?")
        said = [self.command, path, query]
        said += [f"{name}:{self.headers[name].strip()}" for name in names]
        said += ["", ";".join(names), self.headers["x-amz-content-sha256"]]
        digest = hashlib.sha256("\n".join(said).encode()).hexdigest()
        text = "\n".join(("AWS4-HMAC-SHA256", stamp, "/".join(scope), digest))
        key = b"AWS4" + SECRET_KEY.encode()
        for part in scope:
            key = hmac.digest(key, part.encode(), "sha256")
        return hmac.digest(key, text.encode(), "sha256").hex()

    def answer(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_args) -> None:
        """Say nothing: the tests read what came."""


def bucket() -> AbstractContextManager[Bucket]:
    return serving(Bucket())
