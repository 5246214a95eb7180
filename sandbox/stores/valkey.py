"""Valkey on a Unix socket."""

import signal
from pathlib import Path
from urllib.parse import quote

import redis

from sandbox.stores.run_as import RunAs
from sandbox.stores.server import Server


def start(data: Path, *, program: Path, sockets: Path, who: RunAs, throwaway: bool) -> Server:
    log = data.with_name("valkey.log")
    if not data.exists():
        data.mkdir(mode=0o700)
        who.own(data)
    # Celery's queue lives here: keep it across restarts, and never evict it to make room.
    keep = "no" if throwaway else "yes"
    flags = f"--port 0 --unixsocketperm 700 --appendonly {keep} --appendfsync everysec"
    command = [str(program), *flags.split(), "--maxmemory-policy", "noeviction", "--save", ""]
    command += ["--unixsocket", str(socket_of(sockets)), "--dir", str(data)]
    server = Server("Valkey", who.popen(command, log), log, (signal.SIGTERM,))
    try:
        server.wait_until(lambda: answers(socket_of(sockets)))
    except BaseException:
        server.stop()
        raise
    return server


def socket_of(sockets: Path) -> Path:
    return sockets / "valkey.sock"


def urls(sockets: Path) -> dict[str, str]:
    return {"REDIS_URL": f"unix://{quote(str(socket_of(sockets)))}?db=0"}


def answers(socket: Path) -> bool:
    try:
        with redis.Redis(unix_socket_path=str(socket), socket_timeout=1) as client:
            return bool(client.ping())
    except (redis.ConnectionError, redis.TimeoutError):
        return False  # not there yet, or still loading its file
