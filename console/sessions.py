"""Django's sessions in the database, asked only for keys that they could have."""

from django.contrib.sessions.backends import db


class SessionStore(db.SessionStore):  # the name is part of what signs sessions
    def _validate_session_key(self, key: str | None) -> bool:
        """Cookies are the browser's to write: a NUL in one has no place in PostgreSQL's texts."""
        return key is not None and len(key) >= 8 and key.isascii() and key.isalnum()
