"""Register, change and remove clusters.

Asking the cluster comes first and outside any transaction (`examine`); the doors then open the
viewer's scope and write.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models.functions import Now

from fleet.clients import vault
from fleet.clients.errors import ClientError, Permanent
from fleet.clients.kube import Access, connect
from fleet.models import Cluster, Node, ObservedPod, Service
from fleet.rules.kubeconfig import read_kubeconfig
from fleet.rules.kueue import GROUP as KUEUE
from fleet.rules.members import SETS
from fleet.rules.objectives import check_name
from fleet.rules.rbac import Question, questions
from fleet.rules.weights import read_cache, read_name
from tenants.actions.audit import picture, record
from tenants.errors import Conflict, Invalid, NotFound, Unavailable
from tenants.rules.access import Permission, Viewer

CHANGEABLE = frozenset(
    {
        "name", "region", "namespace", "hosted", "provider", "confidential", "weights_cache",
        "weights_secret",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Examined:
    """A cluster that answered: what it said, and how to reach it again."""

    access: Access
    server: str
    version: str
    permissions: tuple[dict[str, Any], ...]


def examine(
    viewer: Viewer, *, kubeconfig: str = "", in_cluster: bool = False, namespace: str = "models"
) -> Examined:
    """Ask a cluster for its version and for what this account may do. Call it in no transaction."""
    viewer.require(Permission.MANAGE_FLEET)
    check_namespace(namespace)
    if in_cluster:
        access, server = Access(in_cluster=True), "the cluster that the console runs in"
    else:
        read = read_kubeconfig(kubeconfig)
        access, server = Access(kubeconfig=read.document), read.server
    try:
        kube = connect(access)
        try:
            found = check(kube, namespace, had=kube.extensions())
            return Examined(access, server, kube.server_version(), found)
        finally:
            kube.close()
    except Permanent as error:
        raise Invalid(kubeconfig=f"{server}: {error.message}") from error
    except ClientError as error:
        raise Unavailable(f"{server}: {error.message}") from error


class Asked(Protocol):
    def may(self, question: Question) -> tuple[bool, str]: ...


def check(kube: Asked, namespace: str, *, had: Mapping[str, str]) -> tuple[dict[str, Any], ...]:
    """What the account may do, as rows for the page: one for each permission asked about."""
    asked = questions(namespace, kueue=KUEUE in had, sets=SETS in had)
    return tuple(_asked(question, *kube.may(question)) for question in asked)


def _asked(question: Question, allowed: bool, why: str) -> dict[str, Any]:
    return {
        "verb": question.verb,
        "group": question.group,
        "resource": question.resource,
        "namespace": question.namespace,
        "purpose": question.purpose,
        "needed": question.needed,
        "allowed": allowed,
        "why": why,
    }


@transaction.atomic
def register(
    viewer: Viewer,
    examined: Examined,
    *,
    slug: str,
    name: str = "",
    region: str = "",
    namespace: str = "models",
    hosted: bool = False,
    provider: str = "",
    confidential: bool = False,
) -> Cluster:
    viewer.require(Permission.MANAGE_FLEET)
    _check_slug(slug)
    check_namespace(namespace)
    _check_provider(provider)
    cluster = Cluster(
        slug=slug,
        name=name.strip() or slug,
        region=region.strip(),
        namespace=namespace,
        hosted=hosted,
        provider=provider.strip(),
        confidential=confidential,
        **_credential(examined),
    )
    try:
        with transaction.atomic():
            cluster.save()
    except IntegrityError as error:
        raise Conflict(f"There is a cluster {slug!r} already") from error
    record(viewer, "cluster.register", cluster, after=cluster)
    return cluster


@transaction.atomic
def change(
    viewer: Viewer,
    cluster_id: int,
    expected_version: int | None,
    *,
    examined: Examined | None = None,
    why: str = "",
    **fields: Any,
) -> Cluster:
    """Change what people write, and the credential when a new one was examined."""
    viewer.require(Permission.MANAGE_FLEET)
    cluster = get_live(cluster_id)
    _refuse_unknown(fields, CHANGEABLE)
    if "namespace" in fields and fields["namespace"] != cluster.namespace:
        check_namespace(fields["namespace"])
        _refuse_while_used(cluster, "Its namespace cannot change")
    before = picture(cluster)
    if "provider" in fields:
        fields["provider"] = fields["provider"].strip()
        _check_provider(fields["provider"])
    fields |= _weights(fields)
    if examined is not None:
        fields |= _credential(examined)
    cluster.change(expected_version, **fields)
    record(viewer, "cluster.change", cluster, before=before, after=cluster, why=why)
    return cluster


@transaction.atomic
def remove(viewer: Viewer, cluster_id: int, expected_version: int | None, *, why: str = "") -> None:
    """Forget the credential and stop observing. History that names the cluster stays."""
    viewer.require(Permission.MANAGE_FLEET)
    cluster = get_live(cluster_id)
    _refuse_while_used(cluster, "It cannot be removed")
    before = picture(cluster)
    gone = f"{cluster.slug[:40]}-removed-{cluster.pk}"  # its slug is free again
    cluster.change(expected_version, removed_at=Now(), credential=b"", slug=gone, look_again=None)
    Node.objects.filter(cluster=cluster).delete()
    ObservedPod.objects.filter(cluster=cluster).delete()
    record(viewer, "cluster.remove", cluster, before=before, after=cluster, why=why)


def get_live(cluster_id: int) -> Cluster:
    cluster = Cluster.objects.filter(pk=cluster_id, removed_at=None).first()
    if cluster is None:
        raise NotFound("There is no such cluster")
    return cluster


def _check_provider(provider: str) -> None:
    """It stands in lines of prices and in keys of files."""
    if set(provider) & set(',/"') or not provider.isprintable():
        raise Invalid(provider="A provider's name has no comma, slash or quotation mark")


def _weights(fields: Mapping[str, Any]) -> dict[str, str]:
    """Cache and Secret in their one form, where they are given."""
    readers: dict[str, Callable[[str], str]] = {
        "weights_cache": read_cache,
        "weights_secret": partial(read_name, what="a Secret"),
    }
    found = {}
    for name in sorted(readers.keys() & fields.keys()):
        try:
            found[name] = readers[name](fields[name])
        except ValueError as error:
            raise Invalid(**{name: str(error)}) from error
    return found


def check_namespace(namespace: object) -> None:
    try:
        check_name(namespace)
    except Invalid as error:
        raise Invalid(namespace=error.fields["name"]) from error


def _check_slug(slug: object) -> None:
    try:
        check_name(slug)
    except Invalid as error:
        raise Invalid(slug=error.fields["name"]) from error


def _credential(examined: Examined) -> dict[str, Any]:
    sealed = b""
    if not examined.access.in_cluster:
        sealed = vault.seal(settings.SECRET_KEY, examined.access.kubeconfig)
    return {
        "in_cluster": examined.access.in_cluster,
        "credential": sealed,
        "server": examined.server[:200],
        "observed_version": examined.version[:40],
        "permissions": list(examined.permissions),
    }


def _refuse_unknown(fields: Iterable[str], known: Iterable[str]) -> None:
    if strange := sorted(set(fields) - set(known)):
        raise Invalid(**{name: "This cannot be changed" for name in strange})


def _refuse_while_used(cluster: Cluster, what: str) -> None:
    names = list(Service.objects.filter(cluster=cluster).order_by("name").values_list("name"))
    if names:
        listed = ", ".join(name for (name,) in names[:5]) + (" …" if len(names) > 5 else "")
        raise Conflict(
            f"{what} while {len(names)} services are placed there: {listed}", services=len(names)
        )
