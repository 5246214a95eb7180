"""The demo: people, tenants, keys, services and 60 days of history for a first look.

Owns: what the demo consists of. Everything is done by the same actions and doors that people,
programs and gateways use; nothing here writes a table. Credentials are kept in one file.
May import: actions, queries and rules of the apps; httpx for the ingest door.
Start reading at `cast.py`; `manage.py demo` is the door.
"""
