"""`make up` with servers that are there already: it uses them, and leaves them as they are."""

import os
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from sandbox.ports import free_port
from sandbox.process import wait_until
from sandbox.stores.launcher import scratch_folder
from tests.fixtures.installation import Installation
from tests.plugins.stores import SOCKETS
from tests.sandbox.test_up import kubeconfig

pytestmark = pytest.mark.alone
# As docs/developers/make-up.md tells the person who owns such a server.
ROLES = ("CREATE ROLE owner LOGIN", "CREATE ROLE app LOGIN", "CREATE DATABASE existing OWNER owner")
RIGHTS = (
    "ALTER DEFAULT PRIVILEGES FOR ROLE owner GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO app",
    "ALTER DEFAULT PRIVILEGES FOR ROLE owner GRANT USAGE ON SEQUENCES TO app",
)


def url(role: str, database: str = "existing") -> str:
    return f"postgresql://{role}@/{database}?host={os.environ[SOCKETS]}"


@pytest.fixture(scope="module")
def up() -> Iterator[Installation]:
    for where, statements in ((url("postgres", "postgres"), ROLES), (url("owner"), RIGHTS)):
        with psycopg.connect(where, autocommit=True) as server:
            for statement in statements:
                server.execute(statement)
    with scratch_folder() as folder:
        unreachable = folder / "kubeconfig.yaml"
        unreachable.write_text(kubeconfig(free_port()))
        installation = Installation(
            folder / "data",
            KUBECONFIG=str(unreachable),
            DATABASE_URL=url("app"),
            DATABASE_OWNER_URL=url("owner"),
            REDIS_URL=os.environ["REDIS_URL"].replace("?db=0", "?db=15"),
        )
        installation.start()
        yield installation
        installation.stop()


def test_it_fills_the_existing_database_and_starts_no_server(up: Installation) -> None:
    wait_until("the credentials", lambda: "api_keys" in up.state(), 90)
    with psycopg.connect(url("postgres")) as server:
        tenants = server.execute("SELECT count(*) FROM tenant").fetchone()
    assert tenants is not None and tenants[0] == len(up.state()["api_keys"])
    assert not (up.data / "stores").exists()
    assert not any(Path(line).name.startswith("postgres") for line in up.processes().values())


def test_it_leaves_the_servers_running(up: Installation) -> None:
    up.stop()
    with psycopg.connect(url("app")) as server:
        assert server.execute("SELECT 1").fetchone() == (1,)
