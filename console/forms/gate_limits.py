"""Limits of gates in a form: points in percent, ratios as they are."""

from collections.abc import Mapping
from typing import Any

from django import forms
from django.forms import BoundField

from fleet.rules.gate_limits import CHOICES, Choice

PREFIX = "limit_"


def limit_fields() -> dict[str, forms.Field]:
    return {PREFIX + name: field_of(choice) for name, choice in CHOICES.items()}


def field_of(choice: Choice) -> forms.FloatField:
    by = factor(choice)
    meant = "Points on top of stable's" if by == 100 else "Times stable's"
    return forms.FloatField(
        label=f"{choice.title}, {'points' if by == 100 else 'times stable'}",
        required=False,
        min_value=choice.least * by,
        max_value=choice.most * by,
        widget=forms.NumberInput(attrs={"step": "any"}),
        help_text=f"{meant}. Empty: shown, not judged." if choice.optional else "",
    )


def factor(choice: Choice) -> int:
    return 100 if choice.unit == "points" else 1


def shown_limits(limits: Mapping[str, Any]) -> dict[str, float | None]:
    """Initial values of the fields."""
    found = ((n, c, limits[n]) for n, c in CHOICES.items())
    return {PREFIX + n: None if v is None else round(v * factor(c), 6) for n, c, v in found}


def limits_in(form: forms.Form) -> dict[str, float | None]:
    """Those that the form was sent with; an empty one that must have a value is as usual."""
    found: dict[str, float | None] = {}
    for name, choice in CHOICES.items():
        value = form.cleaned_data[PREFIX + name]
        if PREFIX + name not in form.data or (value is None and not choice.optional):
            continue
        found[name] = None if value is None else round(value / factor(choice), 8)
    return found


def limit_bounds(form: forms.Form) -> list[BoundField]:
    return [form[PREFIX + name] for name in CHOICES]
