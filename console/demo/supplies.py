"""What the demo's releases are made of, resolved from the sandbox's registry as a person does."""

import json
from dataclasses import dataclass, field
from pathlib import Path

from fleet.actions import resolutions as actions
from fleet.queries.resolutions import ResolutionRow, get_resolution
from tenants.base.scope import fleet_scope
from tenants.errors import Unavailable
from tenants.rules.access import Viewer

# The weights are random and made on the machine: the artifact has all that decides about them.
MODEL, BRANCH = "registry.local/models/tiny", "1"


@dataclass(frozen=True)
class DemoRelease:
    image: str  # repository of the sandbox's registry
    tag: str
    note: str
    arguments: tuple[str, ...] = ("--max-num-seqs=64",)
    resources: dict[str, str | int] = field(default_factory=dict)


class Supplies:
    """Asked once, kept with the operator's name, then taken from what is kept."""

    def __init__(self, table: Path, operator: Viewer) -> None:
        self.pullable: dict[str, dict[str, object]] = json.loads(table.read_text())["images"]
        self.operator = operator
        self.images: dict[str, str] = {}
        self.found: ResolutionRow | None = None

    def resolve(self, *wanted: DemoRelease) -> None:
        """Call it in no transaction."""
        self.found = self.found or self._kept(actions.ask_model(self.operator, MODEL, BRANCH))
        for release in wanted:
            reference = self._reference(release)
            if reference not in self.images:
                row = self._kept(actions.ask_image(self.operator, reference))
                self.images[reference] = f"{reference}@{row.pinned}"

    def image(self, release: DemoRelease) -> str:
        """As a release pins it: repository:tag@digest."""
        return self.images[self._reference(release)]

    def model(self) -> dict[str, str]:
        """Commit, label and chat template."""
        if self.found is None:
            raise Unavailable("The demo's model is not resolved")
        parts = {part["part"]: part["pinned"] for part in self.found.parts}
        return {
            "commit": self.found.pinned,
            "label": self.found.label,
            "chat_template_digest": parts.get("chat_template", ""),
        }

    def _kept(self, answered: actions.Answered) -> ResolutionRow:
        with fleet_scope():
            return get_resolution(self.operator, actions.keep(self.operator, answered).pk)

    def _reference(self, release: DemoRelease) -> str:
        """Of what the sandbox's nodes can pull."""
        for reference, entry in self.pullable.items():
            repository, tag = reference.partition("@")[0], str(entry.get("tag", ""))
            if repository.endswith(f"/{release.image}") and release.tag in ("", tag):
                return f"{repository}:{tag}"
        raise Unavailable(f"The sandbox has no image {release.image} {release.tag}".rstrip())
