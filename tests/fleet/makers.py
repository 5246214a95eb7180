"""Rows of the fleet, made plainly."""

from datetime import UTC, datetime

from django.conf import settings

from fleet.clients import vault
from fleet.models import Cluster, Deployment, ModelVersion, ObservedPod, Release, Service

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
DIGEST = "sha256:" + "d" * 64
CONFIG = {"clusters": []}


def make_cluster(slug="east", **fields):
    sealed = vault.seal(settings.SECRET_KEY, CONFIG)
    return Cluster.objects.create(
        **{"slug": slug, "name": slug.title(), "region": "eu-1", "credential": sealed} | fields
    )


def make_service(name="chat", **fields):
    return Service.objects.create(name=name, **fields)


def make_release(service, number=1, digest="a" * 64, **fields):
    version, _ = ModelVersion.objects.get_or_create(name="org/model", commit="c" * 40)
    return Release.objects.create(
        **{
            "service": service,
            "number": number,
            "model_version": version,
            "image": "registry.local/vllm",
            "image_digest": DIGEST,
            "digest": digest,
        }
        | fields
    )


def make_deployment(service, release, cluster, **fields):
    return Deployment.objects.create(
        **{
            "service": service,
            "release": release,
            "cluster": cluster,
            "name": f"{service.name}-{release.digest[:8]}",
            "replicas": 1,
            "weight": 100,
        }
        | fields
    )


def make_pod_row(deployment, name="chat-1", **fields):
    return ObservedPod.objects.create(
        **{
            "cluster": deployment.cluster,
            "deployment": deployment,
            "uid": f"uid-{name}",
            "name": name,
            "release": deployment.release.fingerprint,
            "node": "h100-1",
            "address": "10.0.0.1:8000",
            "phase": "Running",
            "ready": True,
            "admitted": True,
            "gpus": 1,
            "image_id": f"registry.local/vllm@{DIGEST}",
            "created_at": NOW,
            "observed_at": NOW,
        }
        | fields
    )
