"""Celery's doors into the fleet; importing this registers them all."""

from fleet.tasks import drills, observe, rollouts, scaling, sequences

__all__ = ["drills", "observe", "rollouts", "scaling", "sequences"]
