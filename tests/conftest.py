"""What every test has: the database of `plugins/database.py`."""

from tests.plugins.database import django_db_setup

__all__ = ["django_db_setup"]
