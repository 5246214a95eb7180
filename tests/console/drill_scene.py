"""A drill that ended: the way back of a service at step 1, and the report of it."""

from datetime import datetime
from types import SimpleNamespace

from fleet.models import Drill, DrillReport
from tenants.base.scope import fleet_scope


def furnish_drill(scene: SimpleNamespace, now: datetime) -> SimpleNamespace:
    with fleet_scope():
        rollout = scene.rollouts["rolled_back"]
        limits = {"traffic_back_seconds": 10, "full_back_seconds": 600, "requests_lost": 0}
        scene.drill = Drill.objects.create(
            service=rollout.service, rollout=rollout, moment="step", step=1, limits=limits,
            promise={"traffic_back": 2.0, "full_back": 60.0}, reason="As every quarter",
            requested_by=scene.olga,
        )  # fmt: skip
        checks = [
            {"name": "Ended on the old release", "unit": "", "promised": None,
             "limit": "rolled back", "measured": "rolled back", "passed": True},
            {"name": "All traffic back", "unit": "seconds", "promised": 2.0,
             "limit": "at most 10 s", "measured": "1.4 s", "passed": True},
            {"name": "Requests lost", "unit": "requests", "promised": None,
             "limit": "at most 0", "measured": "3", "passed": False},
        ]  # fmt: skip
        phase = {"at": now.isoformat(), "phase": "rolled_back", "step": 1, "who": "", "why": "Done"}
        report = {
            "checks": checks, "answers_cut": 1, "phases": [phase],
            "lost_by_tenant": [{"tenant": "acme", "requests": 3}],
        }  # fmt: skip
        DrillReport.objects.create(
            drill=scene.drill, at=now, verdict="failed", report=report, digest="d1" * 32,
            why="Not as it must be. requests lost: 3, at most 0",
        )  # fmt: skip
    return scene
