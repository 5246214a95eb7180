"""What can be exported: the name of each format, whose columns it has, and in which words."""

from collections.abc import Sequence
from dataclasses import dataclass

from billing.rules.focus import COLUMNS, CSV_COLUMNS, typed

CORRECTIONS = "replacement: each file is a snapshot of its range; earlier files stay as they are"
VERSIONS = {f"focus-{version}": version for version in COLUMNS}


@dataclass(frozen=True, slots=True)
class Dataset:
    label: str
    schema: str  # as manifests name it
    columns: Sequence[tuple[str, str]]  # names with the types of their cells
    corrections: str = CORRECTIONS

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.columns]


# "csv" is our own columns, a name from before there were several types of files.
DATASETS = {
    "csv": Dataset("Our own columns", "Quartermaster charges 1", typed(CSV_COLUMNS)),
    **{
        format: Dataset(
            f"FOCUS {version} CostAndUsage",
            f"FOCUS {version} CostAndUsage",
            typed(COLUMNS[version]),
        )
        for format, version in VERSIONS.items()
    },
}
FORMATS = tuple(DATASETS)
