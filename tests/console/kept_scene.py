"""What a rollout that went back keeps: a pod that is gone, its log, its image on nodes."""

from datetime import datetime, timedelta

from fleet.models import Rollout, RolloutFetch, RolloutLog, RolloutPod


def keep_pods(rollout: Rollout, at: datetime) -> None:
    release = rollout.to_release.fingerprint
    RolloutPod.objects.create(
        rollout=rollout, uid="gone-1", release=release, name="embed-small-gone-x2k4n",
        role="serve", node="h100-02", created_at=at - timedelta(minutes=4), start_seconds=118.0,
        restarts=2, trouble="CrashLoopBackOff: Error 1", answered=release,
        answered_at=at - timedelta(minutes=1), gone_at=at,
    )  # fmt: skip
    for previous in (True, False):
        RolloutLog.objects.create(
            rollout=rollout, pod_uid="gone-1", pod="embed-small-gone-x2k4n", release=release,
            previous=previous, restarts=2, at=at,
            text="INFO start\nERROR EngineCore failed to start\nRuntimeError: CUDA failure",
        )  # fmt: skip
    for node, state, trouble in (
        ("h100-01", "done", ""),
        ("h100-02", "disk", "ErrImagePull: no space left on device"),
        ("h100-03", "waiting", ""),
    ):
        RolloutFetch.objects.create(
            rollout=rollout, node=node, state=state, trouble=trouble, state_at=at,
            pod="" if state == "waiting" else f"embed-small-prefetch-{node}",
            made_at=None if state == "waiting" else at - timedelta(minutes=6),
        )  # fmt: skip
