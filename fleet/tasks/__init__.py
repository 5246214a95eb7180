"""Celery's doors into the fleet; importing this registers them all."""

from fleet.tasks import observe, rollouts, scaling, sequences

__all__ = ["observe", "rollouts", "scaling", "sequences"]
