"""Kubernetes objects as people read them: YAML with a title. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

# That of libyaml takes a fifth of the time; wheels of PyYAML have it, builds of one's own may not.
DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


@dataclass(frozen=True, slots=True)
class Shown:
    title: str
    text: str


def shown(manifests: Iterable[Mapping[str, Any]]) -> list[Shown]:
    return [
        Shown(f"{m.get('kind', 'Object')} {m.get('metadata', {}).get('name', '')}", as_yaml(m))
        for m in manifests
    ]


def as_yaml(content: Mapping[str, Any]) -> str:
    text: str = yaml.dump(
        dict(content), Dumper=DUMPER, sort_keys=False, width=100, allow_unicode=True
    )
    return text
