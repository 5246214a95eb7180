"""The fields of Kubernetes objects that the observer reads, as the API server writes them.

Answers are decoded into these shapes; whatever else an object has is skipped while decoding, which
costs a third of the time and memory of keeping it. What others may add is never missed: nothing
that is read here is written back.
"""

from typing import Any, Required, TypedDict

import msgspec

Quantities = dict[str, Any]  # "4", "64Gi"; whole numbers from whoever writes them so


class Meta(TypedDict, total=False):
    name: Required[str]
    namespace: str
    uid: str
    labels: dict[str, str]
    creationTimestamp: str | None
    deletionTimestamp: str | None


class NodeMeta(Meta, total=False):
    managedFields: msgspec.Raw  # skipped, and read only of a node that changed


class Condition(TypedDict, total=False):
    type: str
    status: str
    reason: str
    message: str
    lastTransitionTime: str | None


class NodeSpec(TypedDict, total=False):
    unschedulable: bool
    taints: list[dict[str, Any]]


class NodeStatus(TypedDict, total=False):
    allocatable: Quantities
    conditions: list[Condition]


class Node(TypedDict, total=False):
    metadata: Required[NodeMeta]
    spec: NodeSpec
    status: NodeStatus


class Resources(TypedDict, total=False):
    requests: Quantities
    limits: Quantities


class Container(TypedDict, total=False):
    resources: Resources


class PodSpec(TypedDict, total=False):
    nodeName: str
    containers: list[Container]
    initContainers: list[Container]


class Waiting(TypedDict, total=False):
    reason: str
    message: str


class Terminated(TypedDict, total=False):
    exitCode: int
    reason: str
    message: str


class Running(TypedDict, total=False):
    startedAt: str | None


class ContainerState(TypedDict, total=False):
    running: Running
    waiting: Waiting
    terminated: Terminated


class ContainerStatus(TypedDict, total=False):
    ready: bool
    restartCount: int
    imageID: str
    state: ContainerState
    lastState: ContainerState


class PodStatus(TypedDict, total=False):
    phase: str
    podIP: str
    reason: str
    message: str
    conditions: list[Condition]
    containerStatuses: list[ContainerStatus]
    initContainerStatuses: list[ContainerStatus]


class Pod(TypedDict, total=False):
    metadata: Required[Meta]
    spec: Required[PodSpec]
    status: PodStatus


class Reference(TypedDict, total=False):
    kind: str
    name: str


class Series(TypedDict, total=False):
    count: int
    lastObservedTime: str | None


class Event(TypedDict, total=False):
    metadata: Required[Meta]
    involvedObject: Required[Reference]
    reason: str
    message: str
    type: str
    count: int
    series: Series | None
    eventTime: str | None
    lastTimestamp: str | None
