"""What a model consists of beside its weights: tokenizer, code, chat template. Found, not pinned.

The pins are commits; the digests here say whether two commits hold the same.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from fleet.rules.release import digest_json

TOKENIZER_FILES = frozenset(
    [
        *("added_tokens.json", "merges.txt", "special_tokens_map.json", "spiece.model"),
        *("tekken.json", "tokenizer.json", "tokenizer.model", "tokenizer_config.json"),
        *("vocab.json", "vocab.txt"),
    ]
)
TEMPLATE = "chat_template.jinja"  # it wins over what tokenizer_config.json says
CONFIGURED = "tokenizer_config.json"
READ = ("config.json", TEMPLATE, CONFIGURED)  # small files that are fetched
ELSEWHERE = re.compile(r"(?P<name>[\w.-]+/[\w.-]+)--")


class Pinned(Protocol):
    """The commits of a model, as a release or a stored version has them."""

    @property
    def commit(self) -> str: ...
    @property
    def tokenizer_commit(self) -> str: ...
    @property
    def code_commit(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Part:
    """One of a model's parts as it was found at a commit."""

    part: str  # tokenizer, code, chat_template
    name: str  # repository
    label: str  # branch or tag that was asked for; empty: as the weights
    pinned: str  # commit of that repository, digest of an artifact or of a template
    digest: str  # of the files' contents; empty: the repository tells no digests
    files: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"files": list(self.files)}


def tokenizer_digest(files: Mapping[str, str]) -> tuple[str, tuple[str, ...]]:
    """`files`: content digest by path. Gives one digest of all that tokenize, and their names."""
    names = sorted(n for n in files if n in TOKENIZER_FILES or n.endswith(".tiktoken"))
    return _together(files, names), tuple(names)


def code_digest(files: Mapping[str, str]) -> tuple[str, tuple[str, ...]]:
    names = sorted(n for n in files if n.endswith(".py"))
    return _together(files, names), tuple(names)


def _together(files: Mapping[str, str], names: Iterable[str]) -> str:
    found = [[name, files[name]] for name in names]
    known = found and all(digest for _, digest in found)
    return f"sha256:{digest_json(found)}" if known else ""


def template_of(contents: Mapping[str, bytes]) -> tuple[str, str]:
    """Digest of the chat template and the file it is in; empty: the model has none."""
    if text := contents.get(TEMPLATE):
        return _sha256(text), TEMPLATE
    template = _document(contents.get(CONFIGURED)).get("chat_template")
    if isinstance(template, str) and template:
        return _sha256(template.encode()), CONFIGURED
    if isinstance(template, list) and template:  # several by name: all of them count
        return f"sha256:{digest_json(template)}", CONFIGURED
    return "", ""


def code_of(contents: Mapping[str, bytes], own: str) -> str:
    """Repository of the code that a model of custom code loads; empty: it has none."""
    mapped = _document(contents.get("config.json")).get("auto_map")
    if not isinstance(mapped, dict) or not mapped:
        return ""
    elsewhere = (ELSEWHERE.match(str(value)) for value in mapped.values())
    return next((found["name"] for found in elsewhere if found), own)


def config_of(contents: Mapping[str, bytes]) -> Mapping[str, Any]:
    return _document(contents.get("config.json"))


def commits_apart(pin: Pinned, parts: Iterable[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Parts that lie at another commit than the weights, which their signature does not cover."""
    pinned = {"tokenizer": pin.tokenizer_commit, "code": pin.code_commit}
    for part in parts:  # what custom code loads lies elsewhere whether it is pinned or not
        if part.get("part") == "code" and not pinned["code"]:
            pinned["code"] = str(part.get("pinned"))
    return [(part, commit) for part, commit in pinned.items() if commit not in ("", pin.commit)]


def refuse_template(
    given: str, parts: Iterable[Mapping[str, Any]], arguments: Iterable[str]
) -> str:
    """A sentence where the digest of a release is not that of the template it would use."""
    if not given or any(a.startswith("--chat-template=") for a in arguments):
        return ""
    for part in parts:
        if part.get("part") == "chat_template" and part.get("pinned") != given:
            return (
                f"The chat template of this commit is {str(part.get('pinned'))[:19]}, not"
                f" {given[:19]}: resolve the model again, or give the other one as --chat-template"
            )
    return ""


def compare_parts(
    old: Iterable[Mapping[str, Any]], new: Iterable[Mapping[str, Any]]
) -> Iterator[str]:
    """Sentences for clients about parts whose contents are known of both releases."""
    before, after = ({str(p.get("part")): p for p in parts} for parts in (old, new))
    if _moved(before, after, "tokenizer", "digest"):
        yield "tokenizer: other files, so tokens are counted in another way and bills change"
    if _moved(before, after, "chat_template", "pinned"):
        yield "chat template: prompts are put together in another way, so answers differ"
    if _moved(before, after, "code", "digest"):
        yield "code: other code of the model runs"


def _moved(
    before: Mapping[str, Mapping[str, Any]],
    after: Mapping[str, Mapping[str, Any]],
    part: str,
    key: str,
) -> bool:
    was, will = (str(parts.get(part, {}).get(key, "")) for parts in (before, after))
    return bool(was and will) and was != will


def _document(text: bytes | None) -> Mapping[str, Any]:
    try:
        found = json.loads(text or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _sha256(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()
