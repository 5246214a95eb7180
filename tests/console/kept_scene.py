"""What a rollout that went back keeps: a pod that is gone, and its log."""

from datetime import datetime, timedelta

from fleet.models import Rollout, RolloutLog, RolloutPod


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
