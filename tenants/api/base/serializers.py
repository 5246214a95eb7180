"""Serializers that take nothing they do not know: a misspelt field is no silent no-op."""

from typing import Any

from rest_framework import serializers


class Strict(serializers.Serializer[Any]):
    """A JSON object with known members only. `takes` in a view; answers use it as well."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, dict):
            known = {name for name, field in self.fields.items() if not field.read_only}
            unknown = sorted(str(name) for name in set(data) - known)
            if unknown:
                raise serializers.ValidationError(
                    {name[:100]: ["This field is not known here"] for name in unknown[:20]}
                )
        return super().to_internal_value(data)


class Why(Strict):
    """The reason that the audit keeps."""

    why = serializers.CharField(required=False, default="", allow_blank=True, max_length=2000)


class TextField(serializers.CharField):
    """Text only: a number or a boolean is a mistake of the caller, not a text."""

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            raise serializers.ValidationError("Not a text")
        return super().to_internal_value(data)


class CountField(serializers.IntegerField):
    """A whole JSON number: "5", 5.0 and true are mistakes of the caller."""

    def to_internal_value(self, data: Any) -> int:
        if isinstance(data, bool) or not isinstance(data, int):
            raise serializers.ValidationError("Not a whole number")
        return super().to_internal_value(data)
