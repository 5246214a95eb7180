"""Limits of gates that a proposal chooses, refused as a field where they make no sense."""

from collections.abc import Mapping

from fleet.rules.gate_limits import read_limits
from tenants.errors import Invalid


def checked(limits: Mapping[str, float | None]) -> dict[str, float | None]:
    try:
        return read_limits(limits)
    except ValueError as error:
        raise Invalid(limits=str(error)) from error
