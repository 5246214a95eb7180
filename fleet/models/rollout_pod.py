from django.db import models

from fleet.models.rollout import Rollout


class RolloutPod(models.Model):
    """A pod of either release as passes of the rollout saw it, kept when it is gone."""

    rollout = models.ForeignKey(Rollout, models.CASCADE, related_name="pods")
    uid = models.CharField(max_length=36)
    release = models.CharField(max_length=20)  # fingerprint
    name = models.CharField(max_length=253)
    role = models.CharField(max_length=16)
    node = models.CharField(max_length=253, blank=True)
    created_at = models.DateTimeField()
    start_seconds = models.FloatField(null=True)  # from its creation to its admission
    restarts = models.PositiveIntegerField()
    trouble = models.TextField(blank=True)  # why it does not run
    answered = models.CharField(max_length=40, blank=True)  # the fingerprint in its answers
    answered_at = models.DateTimeField(null=True)
    gone_at = models.DateTimeField(null=True)  # the first pass without it

    class Meta:
        db_table = "rollout_pod"
        constraints = [models.UniqueConstraint(fields=["rollout", "uid"], name="rollout_pod_once")]

    def __str__(self) -> str:
        return self.name


class RolloutLog(models.Model):
    """The end of the log of a container that failed or never got ready, masked and bounded."""

    rollout = models.ForeignKey(Rollout, models.CASCADE, related_name="logs")
    pod_uid = models.CharField(max_length=36)
    pod = models.CharField(max_length=253)
    release = models.CharField(max_length=20)  # fingerprint
    previous = models.BooleanField()  # of the run before its last restart
    restarts = models.PositiveIntegerField()  # when it was read
    at = models.DateTimeField()
    text = models.TextField(blank=True)
    trouble = models.TextField(blank=True)  # why it could not be read

    class Meta:
        db_table = "rollout_log"
        constraints = [
            models.UniqueConstraint(
                fields=["rollout", "pod_uid", "previous"], name="rollout_log_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.pod}{' before' if self.previous else ''}"


class RolloutFetch(models.Model):
    """The image of a rollout's new release on one node, brought there before anything moves."""

    rollout = models.ForeignKey(Rollout, models.CASCADE, related_name="fetches")
    node = models.CharField(max_length=253)
    pod = models.CharField(max_length=253, blank=True)  # that pulls; empty: not made yet
    state = models.CharField(max_length=12)  # fleet.rules.prefetch.Fetching
    trouble = models.TextField(blank=True)  # the registry's, the disk's or the scheduler's words
    told = models.TextField(blank=True, db_default="")  # last words of what brought weights
    made_at = models.DateTimeField(null=True)  # the pod
    state_at = models.DateTimeField()  # the pass that saw this state first
    gone_at = models.DateTimeField(null=True)  # the first pass without the pod

    class Meta:
        db_table = "rollout_fetch"
        constraints = [
            models.UniqueConstraint(fields=["rollout", "node"], name="rollout_fetch_once")
        ]

    def __str__(self) -> str:
        return f"{self.node} {self.state}"
