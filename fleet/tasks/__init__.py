"""Celery's doors into the fleet; importing this registers them all."""

from fleet.tasks import observe

__all__ = ["observe"]
