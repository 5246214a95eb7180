"""Limits of gates as a proposal takes them."""

from typing import Any

from rest_framework import serializers

from fleet.rules.gate_limits import CHOICES, Choice
from tenants.api.base.serializers import Strict


class NumberField(serializers.FloatField):
    """A JSON number: "1.5" and true are mistakes of the caller."""

    def to_internal_value(self, data: Any) -> float:
        if isinstance(data, bool) or not isinstance(data, int | float):
            raise serializers.ValidationError("Not a number")
        return super().to_internal_value(data)


def limit(name: str) -> NumberField:
    choice = CHOICES[name]
    return NumberField(
        required=False,
        allow_null=choice.optional,
        min_value=choice.least,
        max_value=choice.most,
        help_text=f"{choice.title}: {meaning(choice)}",
    )


def meaning(choice: Choice) -> str:
    of = "share on top of stable's" if choice.unit == "points" else "times stable's"
    return f"{of}; null: shown, not judged" if choice.optional else of


class GateLimitsIn(Strict):
    """What gates allow the new release. What is left out is as usual."""

    error_points = limit("error_points")
    refused_points = limit("refused_points")
    abort_points = limit("abort_points")
    length_points = limit("length_points")
    ttft_ratio = limit("ttft_ratio")
    itl_ratio = limit("itl_ratio")
    output_ratio = limit("output_ratio")
    gpu_ratio = limit("gpu_ratio")
    preemption_ratio = limit("preemption_ratio")
    cache_points = limit("cache_points")
