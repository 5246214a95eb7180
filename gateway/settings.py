"""Settings of one gateway, read from the environment here and nowhere else.

Each name may also come from a file: `QM_SALT_SECRET_FILE=/run/secrets/salt`.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

BODIES = 8  # of the largest size that fit at least


class SettingsError(Exception):
    """A setting is missing or makes no sense; the text says what to write instead."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    spool_dir: Path
    salt_secret: bytes
    host: str = "127.0.0.1"
    port: int = 8080
    redis_url: str = "redis://127.0.0.1:6379/0"
    ingest_url: str = ""
    ingest_token: str = ""
    routing_url: str = ""  # asked while Redis does not answer
    workers: int = 1
    replicas: int = 1  # gateways behind one balancer: the divisor of emergency limits
    name: str = ""
    region: str = ""  # where it stands: engines there are asked first; empty: as stated
    max_body_bytes: int = 8 * 1024 * 1024
    max_in_flight: int = 2048  # requests of one worker
    max_copies: int = 16  # of requests for a shadow that one worker has in flight; 0: none
    max_in_flight_bytes: int = 256 * 1024 * 1024
    spool_bytes: int = 1024 * 1024 * 1024
    max_snapshot_age: float = 900.0  # seconds without a word from the snapshot store
    redis_timeout: float = 0.05  # seconds until emergency limits take over
    drain_seconds: float = 20.0
    metrics_token: str = ""  # for /metrics, which tenants reach too; empty: there is none

    def worker_name(self, slot: int) -> str:
        return f"{self.name or socket.gethostname()}-{self.port}-{slot}"


def read_settings(environ: Mapping[str, str] | None = None) -> Settings:
    env = os.environ if environ is None else environ
    ingest_url = _text(env, "QM_INGEST_URL", "")
    console = _text(env, "QM_CONSOLE_URL", "")
    if not ingest_url and console:
        ingest_url = console.rstrip("/") + "/api/v1/usage/events"
    max_body = _number(env, "QM_GATEWAY_MAX_BODY", Settings.max_body_bytes)
    return Settings(
        spool_dir=Path(_required(env, "QM_SPOOL_DIR", "a folder that outlives the process")),
        salt_secret=_required(env, "QM_SALT_SECRET", "at least 32 random characters").encode(),
        host=_text(env, "QM_GATEWAY_HOST", "127.0.0.1"),
        port=_number(env, "QM_GATEWAY_PORT", 8080),
        redis_url=_text(env, "REDIS_URL", "redis://127.0.0.1:6379/0"),
        ingest_url=ingest_url,
        ingest_token=_text(env, "QM_INGEST_TOKEN", ""),
        routing_url=_text(env, "QM_ROUTING_URL", _beside(ingest_url)),
        workers=_number(env, "QM_GATEWAY_WORKERS", 1),
        replicas=_number(env, "QM_GATEWAY_REPLICAS", 1),
        name=_text(env, "QM_GATEWAY_NAME", ""),
        region=_text(env, "QM_GATEWAY_REGION", ""),
        metrics_token=_text(env, "QM_GATEWAY_METRICS_TOKEN", ""),
        max_body_bytes=max_body,
        max_in_flight_bytes=max(Settings.max_in_flight_bytes, BODIES * max_body),
        max_in_flight=_number(env, "QM_GATEWAY_MAX_IN_FLIGHT", 2048),
        max_copies=_number(env, "QM_GATEWAY_MAX_COPIES", 16),
        redis_timeout=_number(env, "QM_GATEWAY_STORE_MS", 50) / 1000,
        spool_bytes=_number(env, "QM_GATEWAY_SPOOL_BYTES", 1024 * 1024 * 1024),
    )


def _beside(ingest_url: str) -> str:
    """The console's door for routing stands beside that for usage."""
    base, found, _ = ingest_url.rpartition("/usage/events")
    return f"{base}/routing/snapshot" if found else ""


def _text(env: Mapping[str, str], name: str, default: str) -> str:
    path = env.get(f"{name}_FILE")
    if path:
        return Path(path).read_text(encoding="utf-8").strip()
    return env.get(name, default)


def _required(env: Mapping[str, str], name: str, what: str) -> str:
    value = _text(env, name, "")
    if not value:
        raise SettingsError(f"{name} is missing: set it to {what}.")
    return value


def _number(env: Mapping[str, str], name: str, default: int) -> int:
    value = _text(env, name, str(default))
    if not value.isdigit():
        raise SettingsError(f"{name} is {value!r}: write a whole number.")
    return int(value)
