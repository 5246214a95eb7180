"""Serve the catalogue of the sandbox, signed: python -m sandbox.registry --port 5601 --data FOLDER

The folder gets what a console needs to check the signatures: the trust root and who may sign.
Prints a JSON line with the address when it listens.
"""

import argparse
import json
from datetime import UTC, datetime
from pathlib import Path

from sandbox.registry.authority import Authority
from sandbox.registry.content import IDENTITY, ISSUER, MAKER, catalogue, sign_all
from sandbox.registry.server import Server


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    parser.add_argument("--data", type=Path, required=True)
    given = parser.parse_args()
    content, now = catalogue(), datetime.now(UTC)
    authority = Authority(now)
    sign_all(content, authority, now)
    given.data.mkdir(parents=True, exist_ok=True)
    (given.data / "trusted_root.json").write_text(json.dumps(authority.trusted_root(), indent=1))
    for name, identity in (("signers.json", IDENTITY), ("model_signers.json", MAKER)):
        rows = [{"issuer": ISSUER, "identity": identity}]
        (given.data / name).write_text(json.dumps(rows, indent=1))
    server = Server(content, given.port)
    print(json.dumps({"url": server.url, "state": "ready"}), flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
