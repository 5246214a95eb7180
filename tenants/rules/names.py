"""What names may look like. They stand in URLs, labels and metrics, so they are narrow."""

import re

from tenants.rules.currencies import EXPONENTS

SLUG = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
MODEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._/:-]{0,126}[A-Za-z0-9])?")
REGION = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?")
LONGEST_NAME = 120


def fault_of_slug(slug: str) -> str:
    """Empty when it can be used."""
    if SLUG.fullmatch(slug):
        return ""
    return "1 to 63 small letters, digits and hyphens; a letter or digit at both ends"


def fault_of_name(name: str) -> str:
    if not name.strip():
        return "Give it a name that people know"
    if len(name) > LONGEST_NAME:
        return f"At most {LONGEST_NAME} characters, this has {len(name)}"
    if any(ord(c) < 32 or ord(c) == 127 for c in name):
        return "Control characters cannot be used"
    return ""


def fault_of_model(model: str) -> str:
    if MODEL.fullmatch(model):
        return ""
    return "A served model name: letters, digits, and . _ / : - between them, at most 128"


def fault_of_currency(currency: str) -> str:
    return "" if currency in EXPONENTS else "A currency of ISO 4217 in capital letters, as in USD"


def fault_of_regions(regions: list[str]) -> str:
    wrong = [r for r in regions if not REGION.fullmatch(r)]
    return f"{wrong[0]!r} is no name of a region" if wrong else ""


def faults(**found: str) -> dict[str, str]:
    """Only the fields that have a fault."""
    return {field: fault for field, fault in found.items() if fault}
