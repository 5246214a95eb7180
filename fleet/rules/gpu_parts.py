"""Parts of a GPU: MIG slices and shared GPUs, as fractions of the whole one. Pure.

A MIG slice counts by its compute slices (`1g` of an H100 is 1/7), so the slices of a card are
never more than the card; what its layout leaves over is counted as out of service. A GPU that is
shared in time or by MPS into n devices counts 1/n for each.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from fleet.rules.quantity import whole
from fleet.rules.release import GPU

WHOLE = Fraction(1)
REST = "rest"  # the profile of what a layout leaves over
MIG = re.compile(r"nvidia\.com/mig-((?:\d+c\.)?\d+g\.[\w.+]+)")
SLICES = re.compile(r"(?:(\d+)c\.)?(\d+)g\.")
SINGLE = "-MIG-"  # in the product when all slices of a node are alike
SHARED = "-SHARED"
COMPUTE_SLICES = 7
OF_OTHERS = {"A30": 4}


@dataclass(frozen=True, slots=True)
class Devices:
    """Devices of one kind of a node. `mig`: the profile in the resource's name, if it has one."""

    mig: str
    profile: str
    fraction: Fraction
    allocatable: int
    used: int = 0


def mig_asked(quantities: Mapping[str, Any]) -> dict[str, int]:
    """MIG devices by profile, in a node's allocatable or a container's resources."""
    found = ((MIG.fullmatch(name), count) for name, count in quantities.items())
    return {match[1]: whole(count) for match, count in found if match and whole(count)}


def product_of(label: str) -> str:
    """The card's own name, without how it is cut."""
    return label.partition(SINGLE)[0].removesuffix(SHARED)


def profile_of(labels: Mapping[str, str]) -> str:
    """Of plain `nvidia.com/gpu` devices: empty, or the slice or share that each one is."""
    product = labels.get(f"{GPU}.product", "")
    if SINGLE in product:
        return product.partition(SINGLE)[2].removesuffix(SHARED)
    replicas = whole(labels.get(f"{GPU}.replicas", 1))
    return f"1/{replicas}" if replicas > 1 else ""


def fraction_of(profile: str, product: str) -> Fraction:
    """Of a whole card of the product; a profile that we cannot read counts as a whole one."""
    if match := SLICES.match(profile):
        slices = next((n for name, n in OF_OTHERS.items() if name in product), COMPUTE_SLICES)
        return min(WHOLE, Fraction(int(match[1] or match[2]), slices))
    shares = profile.removeprefix("1/")
    return Fraction(1, int(shares)) if shares != profile and shares.isdigit() else WHOLE


def devices_of(
    labels: Mapping[str, str],
    allocatable: Mapping[str, Any],
    gpus_used: int,
    used: Mapping[str, int],
) -> tuple[Devices, ...]:
    """All of a node, with what its cards' layout leaves over. `used`: MIG devices by profile."""
    product = product_of(labels.get(f"{GPU}.product", ""))
    profile = profile_of(labels)
    found = [
        Devices("", profile, fraction_of(profile, product), whole(allocatable.get(GPU)), gpus_used)
    ]
    for mig, count in sorted(mig_asked(allocatable).items()):
        found.append(Devices(mig, mig, fraction_of(mig, product), count, used.get(mig, 0)))
    rest = rest_of(whole(labels.get(f"{GPU}.count", 0)), found)
    if rest:
        found.append(Devices(REST, REST, rest, 1))
    return tuple(d for d in found if d.allocatable)


def rest_of(cards: int, devices: Sequence[Devices]) -> Fraction:
    """What a layout leaves of the node's cards; zero where nothing says how many there are.

    With one profile for all, `nvidia.com/gpu.count` counts the slices: then nobody knows.
    """
    if not any(d.mig for d in devices):
        return Fraction(0)
    cut = sum((d.fraction * d.allocatable for d in devices), Fraction(0))
    return max(cards - cut, Fraction(0))
