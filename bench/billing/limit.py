"""What PostgreSQL itself takes to store ready charges: rating cannot be faster than that."""

import os
from concurrent.futures import ThreadPoolExecutor

import psycopg

from bench.billing.watch import Watch
from billing.rules.lanes import LANES, Lane

COPY = """
INSERT INTO bare_charge SELECT * FROM charge WHERE tenant_id %% %s = %s ORDER BY id
"""


def copy_charges(watch: Watch) -> int:
    """The same rows into a table with the same indexes, by as many connections as rating has."""
    with owner() as server:
        server.execute("CREATE TABLE bare_charge (LIKE charge INCLUDING ALL)")
        with watch, ThreadPoolExecutor(len(LANES)) as workers:
            copied = sum(workers.map(copy_lane, LANES))
        server.execute("DROP TABLE bare_charge")
    return copied


def copy_lane(lane: Lane) -> int:
    with owner() as server:
        return server.execute(COPY, [lane.of, lane.number]).rowcount


def owner() -> psycopg.Connection:
    server = psycopg.connect(os.environ["DATABASE_OWNER_URL"], autocommit=True)
    server.execute("SET app.fleet = 'on'")
    return server
