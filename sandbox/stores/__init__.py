"""A private PostgreSQL and Valkey from the programs in two Python wheels.

Owns: finding the programs, the account they run as, start, readiness, roles, stop.
Does not own: tables. Migrations belong to the console.
May import: psycopg, redis, the standard library.
Start reading at `launcher.py`; `python -m sandbox.stores --help` runs the two alone.
"""
