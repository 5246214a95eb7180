"""Drills that ended: a way back at step 1, a replica that was killed; and their reports."""

from datetime import datetime, timedelta
from types import SimpleNamespace

from fleet.models import Drill, DrillReport, PodLoss, Rollout
from tenants.base.scope import fleet_scope
from tenants.models import ChangeRequest


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
        scene.lost = lose_a_pod(scene, rollout, now)
    return scene


def lose_a_pod(scene: SimpleNamespace, rollout: Rollout, now: datetime) -> Drill:
    service, release = rollout.service, rollout.to_release
    drill = Drill.objects.create(
        service=service, moment="pod_lost", reason="As every quarter",
        limits={"traffic_back_seconds": 30, "full_back_seconds": 600, "requests_lost": 5},
        promise={"traffic_back": None, "full_back": 118.0}, requested_by=scene.olga,
    )  # fmt: skip
    change = ChangeRequest.objects.create(
        kind="pod_loss", target_id=drill.pk, title=f"{service}: a replica is killed",
        payload={"service": service.name}, digest="9f" * 32, requester=scene.olga,
        decider=scene.vic, state="approved", decided_at=now, expires_at=now,
    )  # fmt: skip
    killed, line = now - timedelta(minutes=5), {"step": 0, "who": ""}
    phases = [
        line | {"at": killed.isoformat(), "phase": "watching", "why": "chat-b-x2k4n is killed"},
        line | {"at": now.isoformat(), "phase": "ended", "why": "chat-b-9q1zz serves instead"},
    ]
    PodLoss.objects.create(
        drill=drill, service=service, cluster=rollout.cluster, release=release, consent=False,
        change_id=change.pk, phase="ended", phase_since=now, why=phases[1]["why"], uid="lost-1",
        timeline=phases, pod="chat-b-x2k4n", node="h100-02", gpus=2, before=3, least=2,
        killed_at=killed, out_at=killed + timedelta(seconds=2), replaced_by="chat-b-9q1zz",
        replaced_at=now, ended_at=now,
    )  # fmt: skip
    check = {
        "name": "Another one serves", "unit": "seconds", "promised": 118.0,
        "limit": "at most 600 s", "measured": "300.0 s", "passed": True,
    }  # fmt: skip
    report = {"checks": [check], "answers_cut": 0, "phases": phases, "lost_by_tenant": []}
    DrillReport.objects.create(
        drill=drill, at=now, verdict="passed", report=report, digest="e2" * 32,
        why="Gateways were without it after 2.0 s, another one served after 300.0 s",
    )  # fmt: skip
    return drill
