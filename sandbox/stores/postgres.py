"""PostgreSQL: data folder, roles, database."""

import shutil
import signal
from pathlib import Path
from urllib.parse import quote

import psycopg

from sandbox.stores.programs import major_version
from sandbox.stores.run_as import LaunchError, RunAs, tail
from sandbox.stores.server import Server

DATABASE = "console"
# Row level security binds neither superusers nor BYPASSRLS roles, so the console must never
# connect as `postgres`: that role belongs to this launcher alone.
ROLES = {
    "console_owner": "LOGIN NOSUPERUSER CREATEDB NOBYPASSRLS",  # migrations, test databases
    "console_app": "LOGIN NOSUPERUSER NOCREATEDB NOBYPASSRLS",  # web and workers
}
# What a test run throws away needs no safety against a power cut.
THROWAWAY = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")


def start(data: Path, *, program: Path, sockets: Path, who: RunAs, throwaway: bool) -> Server:
    """Start it on the folder, made when missing; return when it answers and has its roles."""
    log = data.with_name("postgres.log")
    if not data.exists():
        _initialise(data, program, who, log)
    _check_data(data, program)
    settings = ["listen_addresses=", f"unix_socket_directories={sockets}"]
    settings += ["unix_socket_permissions=0700", "max_connections=200"]
    settings += ["io_method=sync"]  # files are in the system's cache: nothing to wait for elsewhere
    settings += THROWAWAY if throwaway else ()
    # `postgres` itself, not pg_ctl: a direct child is watched and reaped, a daemon is not.
    command = [str(program), "-D", str(data)]
    command += [word for setting in settings for word in ("-c", setting)]
    # SIGINT is the fast shutdown, SIGQUIT the immediate one; SIGTERM would wait for clients.
    process = who.popen(command, log, on_parent_death=signal.SIGINT)
    server = Server("PostgreSQL", process, log, (signal.SIGINT, signal.SIGQUIT))
    try:
        server.wait_until(lambda: answers(sockets))
        _make_roles(sockets)
    except BaseException:
        server.stop()
        raise
    return server


def urls(sockets: Path) -> dict[str, str]:
    where = f"{DATABASE}?host={quote(str(sockets), safe='')}"
    return {
        "DATABASE_URL": f"postgresql://console_app@/{where}",
        "DATABASE_OWNER_URL": f"postgresql://console_owner@/{where}",
    }


def connect_as_superuser(sockets: Path, database: str) -> "psycopg.Connection":
    return psycopg.connect(
        host=str(sockets), dbname=database, user="postgres", autocommit=True, connect_timeout=5
    )


def answers(sockets: Path) -> bool:
    try:
        with connect_as_superuser(sockets, "postgres"):
            return True
    except psycopg.OperationalError:
        return False


def _initialise(data: Path, program: Path, who: RunAs, log: Path) -> None:
    # Renamed when complete, so that an interrupted initdb is never taken for a database.
    half = data.with_name("pg.new")
    shutil.rmtree(half, ignore_errors=True)
    half.mkdir(mode=0o700)
    who.own(half)
    command = [str(program.with_name("initdb")), "-D", str(half), "-U", "postgres"]
    command += ["--auth=trust", "-E", "UTF8", "--no-sync", "--data-checksums"]
    if major_version(program) >= 17:  # sorts alike on every machine, whatever its C library
        command += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    if who.run(command, log):
        raise LaunchError(f"initdb failed. Last lines:\n{tail(log)}")
    half.rename(data)


def _check_data(data: Path, program: Path) -> None:
    made_by, have = int((data / "PG_VERSION").read_text()), major_version(program)
    if made_by != have:
        raise LaunchError(
            f"{data} was made by PostgreSQL {made_by}, the programs are {have}. Dump it with the "
            "old version and restore it, or choose an empty data folder."
        )


def _make_roles(sockets: Path) -> None:
    """Create what is missing; every start does this, so a killed first start leaves no gap."""
    with connect_as_superuser(sockets, "postgres") as connection:
        roles = {row[0] for row in connection.execute("SELECT rolname FROM pg_roles")}
        for role in ROLES.keys() - roles:
            connection.execute(f"CREATE ROLE {role} {ROLES[role]}".encode())
        databases = {row[0] for row in connection.execute("SELECT datname FROM pg_database")}
        if DATABASE not in databases:
            connection.execute(f"CREATE DATABASE {DATABASE} OWNER console_owner".encode())
    # Opens the tables that migrations will make. In template1 too: default privileges belong to
    # one database, and test databases are copies of that one.
    for database in (DATABASE, "template1"):
        with connect_as_superuser(sockets, database) as connection:
            for grant in ("SELECT, INSERT, UPDATE, DELETE ON TABLES", "USAGE ON SEQUENCES"):
                connection.execute(
                    "ALTER DEFAULT PRIVILEGES FOR ROLE console_owner "
                    f"GRANT {grant} TO console_app".encode()
                )
