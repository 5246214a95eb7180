"""Servers that the environment names instead of ours."""

import os

import psycopg
import redis

from sandbox.stores.run_as import LaunchError

SECONDS = 5  # to answer


def check_named() -> None:
    """Raise LaunchError with the variable and the reason where one of them does not answer."""
    for variable in ("DATABASE_URL", "DATABASE_OWNER_URL", "REDIS_URL"):
        if url := os.environ.get(variable):
            try:
                _ask(variable, url)
            except (psycopg.Error, redis.RedisError, ValueError) as reason:
                told = " ".join(str(reason).split()).rstrip(".?")
                raise LaunchError(
                    f"{variable} names a server that does not answer: {told}. Start it, correct"
                    " the address, or leave the variable out: then one is started here."
                ) from None


def _ask(variable: str, url: str) -> None:
    if variable.startswith("DATABASE"):
        psycopg.connect(url, connect_timeout=SECONDS).close()
    else:
        waits = {"socket_timeout": SECONDS, "socket_connect_timeout": SECONDS}
        with redis.Redis.from_url(url, **waits) as client:
            client.ping()
