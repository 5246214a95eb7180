"""Clusters, their nodes, and the gateways in front of them."""

from typing import Any

from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from fleet.actions import clusters as actions
from fleet.queries import clusters as queries
from fleet.queries import gateways
from tenants.api.base.schema import operation
from tenants.api.base.serializers import Strict, TextField
from tenants.api.base.views import ConsoleView
from tenants.base.scope import scope_of

CACHE = (
    "Where new releases read weights of a hub: a directory of each node (/srv/weights), or the name"
    " of a PersistentVolumeClaim; empty: only in their image"
)
SECRET = "In the namespace, with the hub's token under the key `token`; empty: asked without"


class GpuOut(serializers.Serializer[Any]):
    product = serializers.CharField()
    allocatable = serializers.IntegerField()
    used = serializers.IntegerField()
    free = serializers.IntegerField()
    out = serializers.IntegerField(help_text="On nodes that are not ready or cordoned")


class ClusterOut(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    slug = serializers.CharField()
    name = serializers.CharField()
    region = serializers.CharField()
    namespace = serializers.CharField()
    server = serializers.CharField()
    in_cluster = serializers.BooleanField()
    hosted = serializers.BooleanField()
    provider = serializers.CharField(
        help_text="Of a hosted one: as prices and bills name it; empty: its slug"
    )
    confidential = serializers.BooleanField()
    weights_cache = serializers.CharField(help_text=CACHE)
    weights_secret = serializers.CharField(help_text=SECRET)
    version = serializers.IntegerField()
    kubernetes = serializers.CharField(help_text="Version of its API server")
    observed_at = serializers.DateTimeField(allow_null=True)
    applied_version = serializers.IntegerField(
        allow_null=True, help_text="Of `version`, by the observer; null: it has not looked yet"
    )
    stale = serializers.CharField(help_text="Empty, or why the last observation does not count")
    denied = serializers.IntegerField(help_text="Needed permissions that it lacks")
    nodes = serializers.IntegerField()
    nodes_out = serializers.IntegerField()
    gpus = GpuOut(many=True)
    services = serializers.IntegerField()


class PermissionOut(serializers.Serializer[Any]):
    verb = serializers.CharField()
    group = serializers.CharField()
    resource = serializers.CharField()
    namespace = serializers.CharField(help_text="Empty: in the whole cluster")
    purpose = serializers.CharField()
    needed = serializers.BooleanField()
    allowed = serializers.BooleanField()
    why = serializers.CharField()


class NodeOut(serializers.Serializer[Any]):
    cluster = serializers.CharField()
    name = serializers.CharField()
    gpus = GpuOut()
    ready = serializers.BooleanField()
    cordoned = serializers.BooleanField()
    trouble = serializers.CharField()
    clique = serializers.CharField()
    zone = serializers.CharField()
    changed_at = serializers.DateTimeField()
    observed_at = serializers.DateTimeField()


class QueueOfKueueOut(serializers.Serializer[Any]):
    name = serializers.CharField(help_text="Of the LocalQueue")
    cluster_queue = serializers.CharField()
    flavor = serializers.CharField()
    product = serializers.CharField(help_text="GPUs of its nodes; empty: any")
    nominal = serializers.IntegerField()
    limit = serializers.IntegerField(help_text="With what it may borrow")
    used = serializers.IntegerField()
    borrowed = serializers.IntegerField()
    free = serializers.IntegerField(help_text="GPUs that it lets in now")
    pending = serializers.IntegerField(help_text="Workloads that wait")
    held = serializers.BooleanField(help_text="It lets nobody in: stopped, or not active")


class ClusterDetailOut(serializers.Serializer[Any]):
    cluster = ClusterOut()
    nodes = NodeOut(many=True)
    permissions = PermissionOut(many=True)
    queues = QueueOfKueueOut(many=True, help_text="Of Kueue, where the cluster has it")
    group_sets = serializers.CharField(
        help_text="Version of LeaderWorkerSet, which engines over several nodes are made with;"
        " empty: StatefulSets"
    )
    rbac = serializers.CharField(help_text="YAML for `kubectl apply -f -`")
    token_command = serializers.CharField()


class ClusterFields(Strict):
    name = TextField(required=False, allow_blank=True, max_length=120)
    region = TextField(required=False, allow_blank=True, max_length=64)
    namespace = TextField(required=False, max_length=63)
    hosted = serializers.BooleanField(required=False)
    provider = TextField(required=False, allow_blank=True, max_length=63)
    confidential = serializers.BooleanField(required=False)


class ClusterIn(ClusterFields):
    slug = TextField(max_length=63)
    kubeconfig = TextField(required=False, default="", allow_blank=True, trim_whitespace=False)
    in_cluster = serializers.BooleanField(required=False, default=False)


class CredentialIn(Strict):
    kubeconfig = TextField(required=False, default="", allow_blank=True, trim_whitespace=False)
    in_cluster = serializers.BooleanField(required=False, default=False)
    why = TextField(required=False, default="", allow_blank=True, max_length=2000)


class ClusterChange(ClusterFields):
    weights_cache = TextField(required=False, allow_blank=True, max_length=253, help_text=CACHE)
    weights_secret = TextField(required=False, allow_blank=True, max_length=253, help_text=SECRET)
    why = TextField(required=False, default="", allow_blank=True, max_length=2000)


class PoolOut(serializers.Serializer[Any]):
    in_flight = serializers.IntegerField()
    queued = serializers.IntegerField()
    limit = serializers.IntegerField()


class WorkerOut(serializers.Serializer[Any]):
    worker = serializers.CharField()
    age_seconds = serializers.FloatField()
    policy_version = serializers.IntegerField()
    routing_version = serializers.IntegerField()
    policy_behind = serializers.IntegerField(help_text="Versions")
    routing_behind = serializers.IntegerField(help_text="Versions")
    in_flight = serializers.IntegerField()
    spool_events = serializers.IntegerField()
    spool_oldest_seconds = serializers.FloatField()
    flags = serializers.ListField(child=serializers.CharField())
    requests_total = serializers.IntegerField()
    resident_bytes = serializers.IntegerField()
    pools = serializers.DictField(child=PoolOut())


class GatewaysOut(serializers.Serializer[Any]):
    policy_version = serializers.IntegerField()
    routing_version = serializers.IntegerField()
    workers = WorkerOut(many=True)
    trouble = serializers.CharField(help_text="Why the workers are not known; else empty")


class ClustersView(ConsoleView):
    """Opens the viewer's scope itself: a cluster is asked before anything is written."""

    @operation("clusters_list", gives=ClusterOut(many=True))
    def get(self, request: Request) -> Response:
        with scope_of(self.viewer):
            rows = queries.list_clusters(self.viewer, timezone.now())
            return self.answer(ClusterOut(rows, many=True).data)

    @operation("clusters_create", takes=ClusterIn, gives=ClusterDetailOut, status=201)
    def post(self, request: Request) -> Response:
        """Register a cluster: it must answer. Permissions that it lacks are told, not refused."""
        given = self.given(ClusterIn)
        examined = actions.examine(
            self.viewer,
            kubeconfig=given.pop("kubeconfig"),
            in_cluster=given.pop("in_cluster"),
            namespace=given.get("namespace", "models"),
        )
        with scope_of(self.viewer):
            cluster = actions.register(self.viewer, examined, **given)
            return answered(self, cluster.pk, 201)


class ClusterView(ConsoleView):
    @operation("clusters_get", gives=ClusterDetailOut)
    def get(self, request: Request, cluster_id: int) -> Response:
        return answered(self, cluster_id)

    @operation("clusters_change", takes=ClusterChange, gives=ClusterDetailOut, if_match=True)
    def patch(self, request: Request, cluster_id: int) -> Response:
        queries.get_cluster(self.viewer, cluster_id, timezone.now())
        given = self.given(ClusterChange)
        actions.change(self.viewer, cluster_id, self.expected_version(of=cluster_id), **given)
        return answered(self, cluster_id)

    @operation("clusters_remove", status=204, if_match=True)
    def delete(self, request: Request, cluster_id: int) -> Response:
        queries.get_cluster(self.viewer, cluster_id, timezone.now())
        actions.remove(self.viewer, cluster_id, self.expected_version(of=cluster_id))
        return self.answer()


class CredentialView(ConsoleView):
    """Opens the viewer's scope itself: the cluster is asked before anything is written."""

    @operation("clusters_credential", takes=CredentialIn, gives=ClusterDetailOut, if_match=True)
    def put(self, request: Request, cluster_id: int) -> Response:
        """Replace the credential once the cluster has answered to the new one."""
        with scope_of(self.viewer):
            found = queries.get_cluster(self.viewer, cluster_id, timezone.now()).cluster
        given, expected = self.given(CredentialIn), self.expected_version(of=cluster_id)
        why = given.pop("why")
        examined = actions.examine(self.viewer, namespace=found.namespace, **given)
        with scope_of(self.viewer):
            actions.change(self.viewer, cluster_id, expected, examined=examined, why=why)
            return answered(self, cluster_id)


class NodesView(ConsoleView):
    @operation("nodes_list", gives=NodeOut(many=True))
    def get(self, request: Request) -> Response:
        return self.answer(NodeOut(queries.list_nodes(self.viewer), many=True).data)


class GatewaysView(ConsoleView):
    @operation("gateways_list", gives=GatewaysOut)
    def get(self, request: Request) -> Response:
        """Workers of the gateway: versions applied and how far behind, spool, flags."""
        found = gateways.list_gateways(self.viewer, timezone.now())
        return self.answer(GatewaysOut(found).data)


def answered(view: ConsoleView, cluster_id: int, status: int = 200) -> Response:
    found = queries.get_cluster(view.viewer, cluster_id, timezone.now())
    return view.answer(ClusterDetailOut(found).data, etag=found.cluster.etag, status=status)
