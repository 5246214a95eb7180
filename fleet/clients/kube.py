"""Kubernetes. The official client is the transport, plain dicts are the data.

Its models are never used: they drop fields that they do not know and fail on answers of writes
that succeeded. Make one `Kube` per process, after the fork.
"""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import msgspec
import urllib3
from kubernetes import client, config

from fleet.clients.errors import Denied, Permanent, Temporary
from fleet.clients.readable import plain, readable
from fleet.rules.kueue import GROUP as KUEUE
from fleet.rules.members import LEADER_WORKER_SET, PLURAL, SETS
from fleet.rules.objects import Event, Node, Pod
from fleet.rules.rbac import Question

TIMEOUT = (3, 15)  # seconds to connect, to read
PAGE = 500
WATCH = 240  # seconds of one watch; the server ends it
STARTS = "not yet ready to handle request"  # of a server whose admission has not read its lists
# Words of the authorizer, not of an admission.
ACCOUNT = re.compile(r'forbidden: User ".*" cannot ')
SILENT = 90  # the server sends a bookmark every minute: after this the connection is dead
Json = dict[str, Any]
RAW = {"_preload_content": False, "_request_timeout": TIMEOUT}
Item = TypeVar("Item")


class ListMeta(msgspec.Struct, rename={"token": "continue", "version": "resourceVersion"}):
    token: str = ""
    version: str = ""


class Page(msgspec.Struct, Generic[Item]):
    """A part of a list, decoded as far as the items' type has fields."""

    items: list[Item]
    metadata: ListMeta


class Change(msgspec.Struct):
    """One line of a watch. An ERROR's object is a Status, whose metadata is empty."""

    type: str
    object: Any


NODES = msgspec.json.Decoder(Page[Node])
PODS = msgspec.json.Decoder(Page[Pod])
EVENTS = msgspec.json.Decoder(Page[Event])
WHOLE = msgspec.json.Decoder(Page[Json])
CHANGE = msgspec.json.Decoder(Change)


@dataclass(frozen=True, slots=True)
class Access:
    """How to reach a cluster: a kubeconfig of `rules.kubeconfig`, or the pod's own account."""

    kubeconfig: Json = field(default_factory=dict, repr=False)
    in_cluster: bool = False


def connect(access: Access) -> "Kube":
    """Prepare a connection; nothing is sent yet. Raise `Permanent` for an unusable access."""
    settings = client.Configuration()
    try:
        if access.in_cluster:
            config.load_incluster_config(client_configuration=settings)
        else:
            config.load_kube_config_from_dict(
                access.kubeconfig, client_configuration=settings, persist_config=False
            )
    except (config.ConfigException, ValueError, OSError) as error:
        raise Permanent(f"The access to the cluster cannot be used: {error}") from error
    settings.retries = False  # the next pass is the retry
    return Kube(client.ApiClient(settings))


class Kube:
    """One cluster's API. Every call has a timeout and raises `Temporary` or `Permanent`."""

    def __init__(self, api: client.ApiClient) -> None:
        self.api = api
        self.between: Callable[[], object] = lambda: None  # pages of a list, which may be many
        self.core = client.CoreV1Api(api)
        self.apps = client.AppsV1Api(api)
        self.policy = client.PolicyV1Api(api)
        self.networking = client.NetworkingV1Api(api)

    def close(self) -> None:
        self.api.close()

    def server_version(self) -> str:
        return str(answer(client.VersionApi(self.api).get_code)["gitVersion"])

    def extensions(self) -> dict[str, str]:
        """Of API groups that not every cluster has, the version that this one prefers."""
        groups = answer(client.ApisApi(self.api).get_api_versions)["groups"]
        wanted = (g for g in groups if g["name"] in (KUEUE, SETS))
        return {str(g["name"]): str(g["preferredVersion"]["version"]) for g in wanted}

    def list_kueue(self, version: str, namespace: str) -> dict[str, list[Json]]:
        """The queues of the namespace, and what is behind them in the cluster."""
        objects = client.CustomObjectsApi(self.api)
        everywhere = objects.list_cluster_custom_object
        ours = objects.list_namespaced_custom_object
        return {
            "localqueues": list(self.pages(WHOLE, ours, KUEUE, version, namespace, "localqueues")),
            "clusterqueues": list(self.pages(WHOLE, everywhere, KUEUE, version, "clusterqueues")),
            "resourceflavors": list(
                self.pages(WHOLE, everywhere, KUEUE, version, "resourceflavors")
            ),
        }

    def list_nodes(self) -> list[Node]:
        return list(self.pages(NODES, self.core.list_node))

    def list_pods(self, namespace: str, selector: str = "") -> list[Pod]:
        """Pods of a namespace, or of all when it is empty."""
        if not namespace:
            return list(
                self.pages(PODS, self.core.list_pod_for_all_namespaces, label_selector=selector)
            )
        return list(
            self.pages(PODS, self.core.list_namespaced_pod, namespace, label_selector=selector)
        )

    def watch_pods(self, namespace: str, label: str) -> Iterator[str]:
        """The value of this label of each pod that changes from now on, until the watch ends."""
        listing = self.core.list_namespaced_pod
        given: Json = {**RAW, "label_selector": label}
        with refusals():
            now = WHOLE.decode(listing(namespace, limit=1, **given).data).metadata.version
            more = {"resource_version": now, "watch": True, "timeout_seconds": WATCH}
            given["_request_timeout"] = (TIMEOUT[0], SILENT)
            answered = listing(namespace, allow_watch_bookmarks=True, **given, **more)
            for line in lines(answered):
                found = CHANGE.decode(line)
                if found.type == "ERROR":  # it is older than what the server still knows
                    return
                if found.type != "BOOKMARK":
                    yield found.object["metadata"].get("labels", {}).get(label, "")

    def list_events(self, namespace: str, field_selector: str = "") -> list[Event]:
        listing = self.core.list_namespaced_event
        return list(self.pages(EVENTS, listing, namespace, field_selector=field_selector))

    def list_quotas(self, namespace: str) -> list[Json]:
        return list(self.pages(WHOLE, self.core.list_namespaced_resource_quota, namespace))

    def list_budgets(self, namespace: str) -> list[Json]:
        return list(self.pages(WHOLE, self.policy.list_namespaced_pod_disruption_budget, namespace))

    def list_around(self, namespace: str, kind: str, selector: str = "") -> list[Json]:
        """What releases have besides Deployments, of one of the kinds of `rules.around`."""
        listing = {
            "ConfigMap": self.core.list_namespaced_config_map,
            "NetworkPolicy": self.networking.list_namespaced_network_policy,
            "PodDisruptionBudget": self.policy.list_namespaced_pod_disruption_budget,
            "Service": self.core.list_namespaced_service,
        }[kind]
        found = self.pages(WHOLE, listing, namespace, label_selector=selector)
        return [item | {"kind": kind} for item in found]

    def list_deployments(
        self, namespace: str, selector: str = "", kind: str = "Deployment", version: str = "v1"
    ) -> list[Json]:
        """Or what stands for them. Lists leave out what they are lists of: each item says it."""
        if kind == LEADER_WORKER_SET:
            listing = client.CustomObjectsApi(self.api).list_namespaced_custom_object
            where: tuple[str, ...] = (SETS, version, namespace, PLURAL)
        elif kind == "StatefulSet":
            listing, where = self.apps.list_namespaced_stateful_set, (namespace,)
        else:
            listing, where = self.apps.list_namespaced_deployment, (namespace,)
        found = self.pages(WHOLE, listing, *where, label_selector=selector)
        return [item | {"kind": kind} for item in found]

    def may(self, question: Question) -> tuple[bool, str]:
        """Ask the cluster itself (SelfSubjectAccessReview); the text is its reason, if any."""
        resource, _, subresource = question.resource.partition("/")
        attributes = {
            "verb": question.verb,
            "group": question.group,
            "resource": resource,
            "subresource": subresource,
            "namespace": question.namespace,
        }
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {k: v for k, v in attributes.items() if v}},
        }
        reviews = client.AuthorizationV1Api(self.api)
        status = answer(reviews.create_self_subject_access_review, body)["status"]
        return bool(status.get("allowed")), str(status.get("reason", ""))

    def pages(
        self,
        decoder: msgspec.json.Decoder[Page[Item]],
        call: Callable[..., Any],
        *args: object,
        **kwargs: object,
    ) -> Iterator[Item]:
        """All items of a list, page by page. One that expired (410) is `Temporary`: start again."""
        given = {k: v for k, v in kwargs.items() if v != ""}
        token = ""
        while True:
            more: Json = {"_continue": token} if token else {}
            with refusals():
                found = call(*args, limit=PAGE, **RAW, **given, **more).data
                page = decoder.decode(readable(found))
            yield from page.items
            token = page.metadata.token
            if not token:
                return
            self.between()


def lines(response: Any) -> Iterator[bytes]:
    """Whole lines as they come."""
    try:
        rest = b""
        for part in response.stream(amt=None, decode_content=False):
            *whole, rest = (rest + part).split(b"\n")
            yield from whole
    finally:
        response.close()


def answer(call: Callable[..., Any], *args: object, **kwargs: object) -> Json:
    with refusals():
        found: Json = msgspec.json.decode(readable(call(*args, **RAW, **kwargs).data))
        return found


@contextmanager
def refusals() -> Iterator[None]:
    """Turn what the transport raises into `Temporary` and `Permanent` with a sentence."""
    try:
        yield
    except client.ApiException as error:
        raise refusal(error) from error
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise Temporary(f"The cluster's API does not answer: {reason_of(error)}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Temporary(f"The cluster's API answered what cannot be read: {error}") from error


def refusal(error: client.ApiException) -> Temporary | Permanent:
    status = error.status or 0
    body = status_of(error.body)
    said = plain(str(body.get("message") or error.reason))
    message = f"The cluster's API answered {status}: {said}"
    again = status in {408, 410, 429} or status >= 500 or status == 0 or STARTS in message
    denied = status == 401 or (status == 403 and ACCOUNT.search(message))
    kind = Temporary if again else Denied if denied else Permanent
    return kind(message, status=status, detail=body)


def status_of(body: Any) -> Json:
    """The Status object of an error's body; empty where a proxy answered with something else."""
    try:
        found = json.loads(body)
    except (TypeError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def reason_of(error: BaseException) -> str:
    """The transport's words without its objects' addresses."""
    words = str(error).rpartition(">: ")[2] or str(error)
    return words.strip() or type(error).__name__
