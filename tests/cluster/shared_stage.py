"""One service for the tests of a module: its first release takes longer than many a test."""

from fleet.drive.keep import keep
from fleet.models import Deployment, Rollout
from fleet.rules.manifests import MANAGER
from fleet.rules.phases import FINAL
from sandbox.cluster.kube import Json
from tests.cluster.rollout_stage import RealStage, make_stage_serving
from tests.fixtures.cluster import RunningCluster
from tests.fixtures.kubernetes import DEPLOYMENTS
from tests.plugins.database import Seeds


class SharedStage:
    """Gives the service as it serves; a new one, where a test left it otherwise.

    Its rows are committed for the module: tests that use it have no `django_db` mark.
    """

    def __init__(self, cluster: RunningCluster) -> None:
        self.cluster = cluster
        self.seeds = Seeds()
        self.stage: RealStage | None = None

    def serving(self) -> RealStage:
        if self.stage is None or not self.is_settled(self.stage):
            self.clear()
            self.stage = make_stage_serving(self.cluster, "chat")
        self.stage.asked, self.stage.failed, self.stage.longest = 0, [], 0.0
        self.stage.patience = RealStage.patience
        return self.stage

    def is_settled(self, stage: RealStage) -> bool:
        """Nothing is under way, and only the replicas of the current release are there."""
        stage.service.refresh_from_db()
        if Rollout.objects.filter(service=stage.service).exclude(phase__in=FINAL).exists():
            return False
        row = stage.placed().filter(release=stage.service.current_release).first()
        if row is None or self.wanted(row) != stage.service.replicas:
            return False  # it would not become so

        def look_after() -> None:
            """As the sweep does: what came for an evicted replica waits to be admitted."""
            stage.observe()
            keep(row.pk)

        return stage.is_alone_with(stage.service.current_release.fingerprint, meanwhile=look_after)

    def wanted(self, row: Deployment) -> int | None:
        """Replicas that it has in the cluster. None: it is not there, or the number is another's,
        for whom the next rollout would be rejected.
        """
        listing = self.cluster.console.get(DEPLOYMENTS, fieldSelector=f"metadata.name={row.name}")
        ours = (found for found in listing["items"] if owners_of(found) == {MANAGER})
        return next((int(found["spec"]["replicas"]) for found in ours), None)

    def clear(self) -> None:
        if self.stage:
            self.stage.clear()
        self.stage = None
        self.seeds.restore()


def owners_of(found: Json) -> set[str]:
    """Who owns the number of its replicas."""
    managed = found["metadata"]["managedFields"]
    return {m["manager"] for m in managed if "f:replicas" in m["fieldsV1"].get("f:spec", {})}
