"""References that people write, before they are resolved: an image's tag, a model's branch."""

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

IMAGE = re.compile(
    r"(?P<registry>[a-z0-9.-]+(?::[0-9]{1,5})?)/"
    r"(?P<path>[a-z0-9]+(?:[._/-]+[a-z0-9]+)*)"
    r"(?::(?P<tag>[A-Za-z0-9_][\w.-]{0,127}))?"
    r"(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)
MODEL = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")
REVISION = re.compile(r"[A-Za-z0-9][\w./-]{0,119}")


@dataclass(frozen=True, slots=True)
class ImageReference:
    registry: str
    path: str  # within the registry
    tag: str
    digest: str  # empty: to be asked for

    @property
    def repository(self) -> str:
        return f"{self.registry}/{self.path}"

    @property
    def wanted(self) -> str:
        """What the registry is asked for: a digest says everything."""
        return self.digest or self.tag


def read_reference(text: str) -> ImageReference:
    """Raise ValueError with a sentence where nothing could be asked for."""
    found = IMAGE.fullmatch(text.strip())
    if not found:
        raise ValueError(
            f"{text.strip()!r} is not registry/repository:tag: the registry's name comes first"
        )
    if ".." in found["path"]:
        raise ValueError(f"{found['path']!r} is not the name of a repository")
    if not found["tag"] and not found["digest"]:
        raise ValueError(f"{text.strip()} names no tag: give repository:tag, then resolve it")
    return ImageReference(
        found["registry"], found["path"], found["tag"] or "", found["digest"] or ""
    )


def read_model(name: str, revision: str) -> tuple[str, str]:
    """Name and branch, tag or commit of a repository of models."""
    name, revision = name.strip(), revision.strip()
    if not MODEL.fullmatch(name):
        raise ValueError(f"{name!r} is not organisation/repository: a path cannot be resolved")
    if not REVISION.fullmatch(revision) or ".." in revision:
        raise ValueError(f"{revision!r} is not a branch, a tag or a commit of {name}")
    return name, revision


def origin_of(url: str) -> str:
    """Scheme, host and port: what an allow-list compares."""
    parts = urlsplit(url)
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme, 0)
    return f"{parts.scheme}://{(parts.hostname or '').lower()}:{port}"
