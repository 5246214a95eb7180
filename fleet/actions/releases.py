"""Make releases. They are never changed: another content is another release."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, fields, replace
from typing import Any, TypedDict, Unpack

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Max, Sum

from fleet.models import Cluster, ModelVersion, Node, Release, Resolution, Service
from fleet.queries.adapters import refuse_adapters
from fleet.queries.places import refuse_pins_on
from fleet.queries.resolutions import find_resolution, policy_of, signature_of_model
from fleet.rules.adapters import names_of
from fleet.rules.artifacts import refuse_template
from fleet.rules.groups import read_role
from fleet.rules.kv_transfer import USUAL, Allowed
from fleet.rules.model_shape import Shape, refuse_context
from fleet.rules.pinning import Image, Limits, read_image, refuse_moved, refuse_release
from fleet.rules.pins import Pins, pins_from, stored
from fleet.rules.release import (
    ModelPin,
    Probes,
    ReleaseSpec,
    Resources,
    Role,
    digest_of,
    stored_resources,
    stored_role,
)
from fleet.rules.signature import MODELS, Policy, refuse_unsigned
from fleet.rules.vllm_args import normalise
from fleet.rules.weights import cache_for
from tenants.actions.audit import record
from tenants.errors import Conflict, Invalid, NotFound
from tenants.rules.access import Permission, Viewer


class More(TypedDict, total=False):
    """What few releases have: see `fleet.rules.pins` and `fleet.rules.groups`."""

    pins: Mapping[str, Any]
    roles: Sequence[Mapping[str, Any]]


@transaction.atomic
def create_release(
    viewer: Viewer,
    service_id: int,
    *,
    model: Mapping[str, str],
    image: str,
    arguments: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    resources: Mapping[str, Any] | None = None,
    probes: Mapping[str, Any] | None = None,
    note: str = "",
    **more: Unpack[More],
) -> Release:
    """Pin a release of a service, or raise `Invalid` with a sentence for each wrong field.

    `model`: name, commit, and perhaps label, tokenizer_commit, code_commit,
    chat_template_digest, licence. `image`: repository[:tag]@sha256:... `roles`: of a release
    whose replica is a group of pods (`fleet.rules.groups`).
    """
    viewer.require(Permission.PROPOSE)
    service = (
        Service.objects.select_for_update(no_key=True, of=("self",))
        .select_related("cluster")
        .filter(pk=service_id)
        .first()
    )
    if service is None:
        raise NotFound("There is no such service")
    model = {k: v.strip() for k, v in model.items()}
    pulled, pin = _image(image), _pin(model)
    spec = ReleaseSpec(
        service=service.name,
        model=pin,
        image=pulled.repository,
        image_digest=pulled.digest,
        arguments=_arguments(arguments),
        environment=dict(environment or {}),
        pins=_pins(_cached(pin, service.cluster) | dict(more.get("pins", {}))),
        resources=_part(Resources, "resources", resources or {}),
        probes=_part(Probes, "probes", probes or {}),
        roles=tuple(map(_role, more.get("roles", ()))),
    )
    _refuse(spec, service, pulled, model)
    release = _store(viewer, service, spec, pulled, model, note)
    record(viewer, "release.create", release, after=release, why=note)
    return release


def release_with(
    viewer: Viewer, service: Service, spec: ReleaseSpec, like: Release, note: str
) -> Release:
    """The one with all of this content, made where there is none: checked as if it were typed in.

    `like`: the release that it comes from, whose label, licence and tag it takes over.
    """
    same = Release.objects.filter(service=service, digest=digest_of(spec)).first()
    if same:
        return same
    version, known = like.model_version, spec.image_digest == like.image_digest
    tag = f":{like.image_tag}" if known and like.image_tag else ""
    return create_release(
        viewer,
        service.pk,
        model=asdict(spec.model) | {"label": version.label, "licence": version.licence},
        image=f"{spec.image}{tag}@{spec.image_digest}",
        arguments=spec.arguments,
        environment=spec.environment,
        resources=asdict(spec.resources),
        probes=asdict(spec.probes),
        pins=stored(spec.pins) | {"weights": spec.pins.weights},
        roles=[stored_role(role) for role in spec.roles],
        note=note,
    )


def _image(reference: str) -> Image:
    try:
        return read_image(reference)
    except ValueError as error:
        raise Invalid(image=str(error)) from error


def _arguments(words: Sequence[str]) -> tuple[str, ...]:
    try:
        return normalise(words)
    except ValueError as error:
        raise Invalid(arguments=str(error)) from error


def _pin(model: Mapping[str, str]) -> ModelPin:
    known = {f.name for f in fields(ModelPin)} | {"label", "licence"}
    if strange := sorted(model.keys() - known):
        raise Invalid(model=f"A model version has no {strange[0]}")
    pinned = {k: v for k, v in model.items() if k not in ("label", "licence")}
    return ModelPin(**({"name": "", "commit": ""} | pinned))


def _pins(given: Mapping[str, Any]) -> Pins:
    try:
        return pins_from(given)
    except (TypeError, ValueError) as error:
        raise Invalid(pins=str(error)) from error


def _cached(pin: ModelPin, cluster: Cluster | None) -> dict[str, str]:
    """The cache that its cluster has now. Another one later is for later releases."""
    return {"weights": cache_for(pin, cluster.weights_cache if cluster else "")}


def _part(kind: type[Any], name: str, given: Mapping[str, Any]) -> Any:
    """Resources or probes from a mapping, each value of the type of its default."""
    known = {f.name: type(f.default) for f in fields(kind)}
    if strange := sorted(given.keys() - known.keys()):
        raise Invalid(**{name: f"There is no {strange[0]} in {name}"})
    for key, value in given.items():
        if not isinstance(value, known[key]) or isinstance(value, bool):
            wanted = "whole number" if known[key] is int else "text"
            raise Invalid(**{name: f"{key} must be a {wanted}, not {value!r}"})
    return kind(**given)


def _role(given: Mapping[str, Any]) -> Role:
    """One role, its arguments in the one form and its resources of the known kinds."""
    try:
        role = read_role(given)
        arguments = normalise(role.arguments)
    except ValueError as error:
        raise Invalid(roles=str(error)) from error
    try:
        _part(Resources, "resources", role.resources)
    except Invalid as error:
        raise Invalid(roles=f"{role.name}: {error.message}") from error
    return replace(role, arguments=arguments)


def _largest(service: Service, product: str) -> tuple[int | None, int]:
    """GPUs of the largest node and of the largest fabric clique. None: no node was observed."""
    nodes = Node.objects.filter(cluster_id=service.cluster_id or 0, gpus_allocatable__gt=0)
    nodes = nodes.filter(gpu_product=product) if product else nodes
    cliques = nodes.exclude(clique="").values("clique").annotate(gpus=Sum("gpus_allocatable"))
    most = nodes.aggregate(most=Max("gpus_allocatable"))["most"]
    return most, max((c["gpus"] for c in cliques), default=0)


def _refuse(spec: ReleaseSpec, service: Service, image: Image, model: Mapping[str, str]) -> None:
    largest, clique = _largest(service, spec.resources.gpu_product)
    limits = Limits(
        max_model_len=service.max_model_len,
        largest_node=largest,
        largest_clique=clique,
        others={product: _largest(service, product) for product in spec.products},
        transfer=Allowed(settings.QM_KV_CONNECTORS or USUAL, settings.QM_KV_CONNECTOR_MODULES),
    )
    found: dict[str, list[str]] = {}
    for field, sentence in refuse_release(spec, limits):
        found.setdefault(field, []).append(sentence)
    for field, sentence in _moved(spec, image, model.get("label", "")):
        found.setdefault(field, []).append(sentence)
    for field, sentence in _known(spec, service):
        found.setdefault(field, []).append(sentence)
    if found:
        raise Invalid(**{field: ". ".join(sentences) for field, sentences in found.items()})


def _moved(spec: ReleaseSpec, image: Image, label: str) -> list[tuple[str, str]]:
    """A tag or branch that meant something else in an earlier release."""
    pins = ModelVersion.objects.filter(name=spec.model.name, label=label).exclude(label="")
    commits = [(p.commit, f"{p.name} of {p.created_at:%Y-%m-%d}") for p in pins]
    tagged = Release.objects.filter(image=image.repository, image_tag=image.tag)
    digests = [(r.image_digest, f"{r.service} {r}") for r in tagged.select_related("service")]
    found = [
        ("model", refuse_moved(label, spec.model.commit, commits)),
        ("image", refuse_moved(image.tag, image.digest, digests)),
    ]
    return [(field, sentence) for field, sentence in found if sentence]


def _known(spec: ReleaseSpec, service: Service) -> Iterator[tuple[str, str]]:
    """What is known of its place, who signed the image, what the model is made for."""
    cluster = service.cluster.slug if service.cluster else ""
    if wrong := refuse_pins_on(spec.pins, service.cluster):
        yield "regions", wrong
    for wrong in refuse_adapters(names_of(spec.pins), service):
        yield "adapters", wrong
    image, model = _records(spec)
    yield from _unsigned(spec, cluster, image)
    if model and (
        wrong := refuse_template(spec.model.chat_template_digest, model.parts, spec.arguments)
    ):
        yield "chat_template_digest", wrong
    if model and model.shape:
        shape = Shape(**model.shape)
        for role, part in [(r.name, spec.part(r)) for r in spec.roles] or [("", spec)]:
            for sentence in refuse_context(part, shape, service.max_model_len):
                yield ("roles", f"{role}: {sentence}") if role else ("arguments", sentence)


def _unsigned(
    spec: ReleaseSpec, cluster: str, image: Resolution | None
) -> Iterator[tuple[str, str]]:
    """Sentences by field where the policies of the cluster want better signatures."""
    said = image.signature if image else {}
    known = said.get("state", ""), said.get("why", "")
    if wrong := refuse_unsigned(policy_of(cluster), *known, spec.image):
        yield "image", wrong
    model = signature_of_model(spec.model, cluster)
    name = f"{spec.model.name} at {spec.model.commit[:12]}"
    if wrong := refuse_unsigned(Policy(model.policy), model.state, model.why, name, MODELS):
        yield "model", wrong


def _records(spec: ReleaseSpec) -> tuple[Resolution | None, Resolution | None]:
    """Of the image, of the model; None: its digest or commit was given by hand."""
    image = find_resolution(Resolution.IMAGE, spec.image, spec.image_digest)
    return image, find_resolution(Resolution.MODEL, spec.model.name, spec.model.commit)


def _store(
    viewer: Viewer,
    service: Service,
    spec: ReleaseSpec,
    image: Image,
    model: Mapping[str, str],
    note: str,
) -> Release:
    digest = digest_of(spec)
    same = Release.objects.filter(service=service, digest=digest).first()
    if same:
        raise Conflict(f"This content is release {same} of {service.name} already", release=same.pk)
    last = Release.objects.filter(service=service).aggregate(most=Max("number"))["most"] or 0
    resolved_image, resolved_model = _records(spec)
    try:
        with transaction.atomic():
            return Release.objects.create(
                service=service,
                number=last + 1,
                model_version=_version(spec.model, model),
                image=spec.image,
                image_digest=spec.image_digest,
                image_tag=image.tag,
                arguments=list(spec.arguments),
                environment=dict(spec.environment),
                pins=stored(spec.pins),
                resources=stored_resources(spec.resources),
                probes={f.name: getattr(spec.probes, f.name) for f in fields(Probes)},
                roles=[stored_role(role) for role in spec.roles],
                digest=digest,
                image_resolution=resolved_image,
                model_resolution=resolved_model,
                note=note.strip()[:300],
                created_by_id=viewer.user_id,
            )
    except IntegrityError as error:
        raise Conflict("Somebody made a release of this service meanwhile: try again") from error


def _version(pin: ModelPin, model: Mapping[str, str]) -> ModelVersion:
    found, _ = ModelVersion.objects.get_or_create(
        name=pin.name,
        commit=pin.commit,
        tokenizer_commit=pin.tokenizer_commit,
        code_commit=pin.code_commit,
        chat_template_digest=pin.chat_template_digest,
        defaults={"label": model.get("label", ""), "licence": model.get("licence", "")},
    )
    return found
