"""Django's PostgreSQL, with a pool that gets over the end of a server at once."""
