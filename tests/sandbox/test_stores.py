"""The embedded servers: start, roles, restart, one launcher per folder, no orphans."""

import os
import signal
import subprocess
import sys
import time

import psycopg
import pytest
import redis

from sandbox.process import is_alive, wait_until
from sandbox.stores.launcher import launch, scratch_folder
from sandbox.stores.run_as import LaunchError


@pytest.fixture
def folder(monkeypatch):
    monkeypatch.delenv("DATABASE_URL")
    monkeypatch.delenv("REDIS_URL")
    with scratch_folder() as path:
        yield path / "stores"


def role_of(url: str) -> tuple[str, bool, bool]:
    with psycopg.connect(url) as connection:
        row = connection.execute(
            "SELECT rolname, rolsuper, rolbypassrls FROM pg_roles WHERE rolname = current_user"
        ).fetchone()
    assert row
    return row


def test_it_gives_roles_that_row_level_security_binds(folder):
    with launch(folder, throwaway=True, quiet=True) as running:
        assert role_of(running.urls["DATABASE_URL"]) == ("console_app", False, False)
        assert role_of(running.urls["DATABASE_OWNER_URL"]) == ("console_owner", False, False)


def test_it_opens_what_the_owner_makes_to_the_application_but_not_the_definition(folder):
    with launch(folder, throwaway=True, quiet=True) as running:
        with psycopg.connect(running.urls["DATABASE_OWNER_URL"]) as owner:
            owner.execute("CREATE TABLE note (id bigserial, text text)")
        with psycopg.connect(running.urls["DATABASE_URL"], autocommit=True) as application:
            application.execute("INSERT INTO note (text) VALUES ('kept')")
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                application.execute("DROP TABLE note")
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                application.execute("TRUNCATE note")


def test_it_goes_on_with_the_data_after_a_stop(folder):
    with launch(folder, quiet=True) as running:
        with psycopg.connect(running.urls["DATABASE_OWNER_URL"]) as owner:
            owner.execute("CREATE TABLE note AS SELECT 'kept' AS text")
        redis.Redis.from_url(running.urls["REDIS_URL"]).set("note", "kept")
    with launch(folder, quiet=True) as running:
        with psycopg.connect(running.urls["DATABASE_OWNER_URL"]) as owner:
            assert owner.execute("SELECT text FROM note").fetchone() == ("kept",)
        assert redis.Redis.from_url(running.urls["REDIS_URL"]).get("note") == b"kept"


def test_it_refuses_a_second_launcher_and_names_the_first(folder):
    with (
        launch(folder, throwaway=True, quiet=True),
        pytest.raises(LaunchError, match=f"in use by another launcher, process {os.getpid()}"),
        launch(folder, quiet=True),
    ):
        pass


def test_it_uses_the_servers_that_the_environment_names(folder, monkeypatch):
    with launch(folder, throwaway=True, quiet=True) as elsewhere:
        for variable, url in elsewhere.urls.items():
            monkeypatch.setenv(variable, url)
        with launch(folder.with_name("other"), quiet=True) as running:
            assert running.servers == []
            assert running.urls == {}


def test_it_leaves_no_server_behind_when_it_is_killed(folder):
    code = (
        "import sys, time; from pathlib import Path; from sandbox.stores.launcher import launch\n"
        "with launch(Path(sys.argv[1]), throwaway=True, quiet=True) as running:\n"
        "    print(*[server.process.pid for server in running.servers], flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE, text=True
    ) as launcher:
        assert launcher.stdout
        pids = [int(word) for word in launcher.stdout.readline().split()]
        assert len(pids) == 2
        launcher.send_signal(signal.SIGKILL)
    wait_until("the end of both servers", lambda: not any(map(is_alive, pids)), 10)
    started = time.monotonic()
    with launch(folder, throwaway=True, quiet=True) as running:
        assert role_of(running.urls["DATABASE_URL"])[0] == "console_app"
    assert time.monotonic() - started < 30


@pytest.mark.parametrize(
    ("variable", "url"),
    [
        ("DATABASE_URL", "postgresql://a@127.0.0.1:1/x"),
        ("DATABASE_OWNER_URL", "nonsense"),
        ("REDIS_URL", "redis://127.0.0.1:1/0"),
    ],
)
def test_it_says_which_named_server_does_not_answer(folder, monkeypatch, variable, url):
    monkeypatch.setenv(variable, url)
    with pytest.raises(LaunchError, match=f"{variable} names a server that does not answer"):
        launch(folder).__enter__()
