"""What a release pins beside model, image and arguments: files, secrets, adapters, data policy.

Files and secrets are objects of the cluster whose names end with a digest of their content, so
that another content is another object and a rollback finds the old one. A file whose content is
given is made by the console; of the others, and of every secret, only the digest is known.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,40}[a-z0-9])?")
SERVED = re.compile(r"[A-Za-z0-9][\w.-]{0,95}")
REGION = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
MANY = 16
FILE = re.compile(r"(?!\.{1,2}$)[-._A-Za-z0-9]{1,100}")
LARGEST = 128 * 1024  # bytes of all files of a release: they stand in its rollouts as well
OF_NAME = 10  # hexadecimal digits of the content at the end of an object's name


@dataclass(frozen=True, slots=True)
class Adapter:
    """A LoRA adapter that the engine loads at its start, and serves under its own name."""

    name: str
    path: str  # in the image or a volume
    digest: str  # sha256:64 hex of the artifact that lies there


@dataclass(frozen=True, slots=True)
class Pins:
    configs: Mapping[str, str] = field(default_factory=dict)  # ConfigMap to digest of its content
    secrets: Mapping[str, str] = field(default_factory=dict)  # Secret to digest of its content
    adapters: tuple[Adapter, ...] = ()
    regions: tuple[str, ...] = ()  # where prompts may be processed; none: anywhere
    confidential: bool = False  # only on clusters of confidential GPUs
    # Contents that the console brings: ConfigMap to file to text. Their digests are in `configs`.
    files: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    weights: str = ""  # the cluster's cache for weights of a hub: fleet.rules.weights


def stored(pins: Pins) -> dict[str, Any]:
    """Only what is pinned: releases without any keep the digest that they had before."""
    content = {
        "configs": dict(sorted(pins.configs.items())),
        "secrets": dict(sorted(pins.secrets.items())),
        "adapters": [asdict(adapter) for adapter in pins.adapters],
        "regions": sorted(pins.regions),
        "confidential": pins.confidential,
        "files": {name: dict(sorted(files.items())) for name, files in sorted(pins.files.items())},
        "weights": pins.weights,
    }
    return {name: value for name, value in content.items() if value}


def pins_from(content: Mapping[str, Any]) -> Pins:
    """Of a stored release, or as somebody gave it. Raise ValueError with a sentence."""
    if strange := sorted(content.keys() - Pins.__dataclass_fields__.keys()):
        raise ValueError(f"There is no {strange[0]} to pin")
    files = {name: dict(found) for name, found in (content.get("files") or {}).items()}
    return Pins(
        configs=_with_digests(dict(content.get("configs") or {}), files),
        secrets=dict(content.get("secrets") or {}),
        adapters=tuple(Adapter(**one) for one in content.get("adapters") or ()),
        regions=tuple(sorted(set(content.get("regions") or ()))),
        confidential=bool(content.get("confidential")),
        files=files,
        weights=str(content.get("weights") or ""),
    )


def _with_digests(
    configs: dict[str, str], files: Mapping[str, Mapping[str, str]]
) -> dict[str, str]:
    for name, content in files.items():
        digest = digest_of_files(content)
        if configs.get(name, digest) != digest:
            raise ValueError(f"{name} is given twice: as a content and as the digest of another")
        configs[name] = digest
    return configs


def digest_of_files(content: Mapping[str, str]) -> str:
    text = json.dumps(dict(content), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def object_name(name: str, digest: str) -> str:
    """Of the ConfigMap or Secret in the cluster."""
    return f"{name}-{digest.removeprefix('sha256:')[:OF_NAME]}"


def served_names(service: str, pins: Pins) -> tuple[str, ...]:
    """What an engine of the release answers to: the service, then its adapters."""
    return (service, *(adapter.name for adapter in pins.adapters))


def refuse_pins(pins: Pins, service: str, arguments: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield (field, sentence)."""
    for what, given in (("configs", pins.configs), ("secrets", pins.secrets)):
        yield from ((what, sentence) for sentence in _refuse_objects(given))
    yield from (("files", sentence) for sentence in _refuse_files(pins.files))
    yield from (("adapters", s) for s in _refuse_adapters(pins.adapters, service, set(arguments)))
    for region in pins.regions:
        if not REGION.fullmatch(region):
            yield "regions", f"{region!r} is not the name of a region"


def _refuse_objects(given: Mapping[str, str]) -> Iterator[str]:
    if len(given) > MANY:
        yield f"{len(given)} are more than {MANY}"
    for name, digest in given.items():
        if not NAME.fullmatch(name):
            yield f"{name!r} is not a name: small letters, digits and -, at most 42"
        elif not DIGEST.fullmatch(digest):
            yield (
                f"{name} is not pinned: give sha256: and 64 hexadecimal digits of its content, and"
                f" call the object {name}-<the first {OF_NAME}>"
            )


def _refuse_files(files: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    for name, content in files.items():
        if not content:
            yield f"{name} has no file"
        for file, text in content.items():
            if not FILE.fullmatch(file):
                yield f"{name}: {file!r} is not the name of a file: letters, digits and . _ -"
            elif "\0" in text:
                yield f"{name}/{file} is not a text"
    size = sum(len(text.encode()) for content in files.values() for text in content.values())
    if size > LARGEST:
        yield (
            f"The files have {size:,} bytes, a release brings at most {LARGEST:,}: put larger ones"
            " into the image"
        )


def _refuse_adapters(
    adapters: tuple[Adapter, ...], service: str, arguments: set[str]
) -> Iterator[str]:
    if adapters and "--enable-lora" not in arguments:
        yield f"{len(adapters)} adapters need --enable-lora among the arguments"
    names = [adapter.name for adapter in adapters]
    for one in adapters:
        if not SERVED.fullmatch(one.name):
            yield f"{one.name!r} is not a name that requests could give"
        elif one.name == service or names.count(one.name) > 1:
            yield f"{one.name} is served already: give the adapter a name of its own"
        if not one.path.startswith("/") or ".." in one.path:
            yield f"{one.name}: {one.path!r} is not a path in the image"
        if not DIGEST.fullmatch(one.digest):
            yield f"{one.name} is not pinned: give sha256: of what lies at {one.path}"


def refuse_place(pins: Pins, region: str, confidential: bool, cluster: str) -> str:
    """A sentence where the data policy of a release forbids a cluster."""
    if pins.regions and region not in pins.regions:
        return (
            f"The data policy allows {', '.join(pins.regions)}, and {cluster} is in"
            f" {region or 'no region that is known'}"
        )
    if pins.confidential and not confidential:
        return f"The data policy asks for confidential GPUs, and {cluster} is not said to have any"
    return ""


def parts_of(pins: Pins) -> dict[str, Mapping[str, str]]:
    """For comparing: values by name, by part."""
    return {
        "files": pins.configs,
        "secrets": pins.secrets,
        "adapters": {one.name: f"{one.path}@{one.digest}" for one in pins.adapters},
        "data policy": {
            "regions": ", ".join(pins.regions) or "any",
            "confidential": "only confidential GPUs" if pins.confidential else "any GPUs",
        },
        "weights": {"cache": pins.weights} if pins.weights else {},
    }


MEANS = {
    "files": "Engines read another content of this file",
    "secrets": "Engines read another version of this secret",
    "adapters": "Clients get other answers under this name, or no longer any",
    "data policy": "Prompts may be processed in other places",
    "weights": "Engines read their weights from elsewhere",
}
