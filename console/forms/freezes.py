"""The form of a freeze: it parses moments in the zone that was chosen."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from django import forms

from fleet.rules.freeze import DAYS, Window
from tenants.rules.zones import zones

MOMENT = "%Y-%m-%dT%H:%M"


def moment_field(label: str, *, required: bool, help_text: str) -> forms.CharField:
    """Text on purpose: Django would read it in the console's zone, not in the chosen one."""
    widget = forms.DateTimeInput(attrs={"type": "datetime-local"}, format=MOMENT)
    return forms.CharField(label=label, required=required, widget=widget, help_text=help_text)


class FreezeForm(forms.Form):
    title = forms.CharField(label="Name", max_length=120)
    reason = forms.CharField(
        label="Why",
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text="Whoever waits for it reads this.",
    )
    scope = forms.ChoiceField(label="For")
    zone = forms.CharField(
        label="Time zone",
        initial="UTC",
        help_text="Europe/Berlin, for example: the clocks that all times here are read on.",
    )
    starts_at = moment_field("From", required=True, help_text="")
    ends_at = moment_field(
        "Until", required=False, help_text="Empty: it holds until somebody ends it."
    )
    weekdays = forms.TypedMultipleChoiceField(
        label="Only on these days of each week",
        choices=list(enumerate(DAYS)),
        coerce=int,
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text="No day chosen: all the time between From and Until.",
    )
    from_time = forms.TimeField(
        label="On each of these days from",
        required=False,
        widget=forms.TimeInput(attrs={"type": "time"}),
    )
    hours = forms.FloatField(
        label="For how many hours", required=False, min_value=0.25, max_value=168, initial=8
    )

    def __init__(self, *args: Any, scopes: Iterable[tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choice = self.fields["scope"]
        assert isinstance(choice, forms.ChoiceField)
        choice.choices = [("", "Everything"), *scopes]
        choice.required = False

    def clean(self) -> dict[str, Any]:
        given = super().clean() or {}
        if given.get("zone") not in zones():
            self.add_error("zone", "No IANA zone: write Europe/Berlin or UTC, for example")
            return given
        for name in ("starts_at", "ends_at"):
            given[name] = self.moment(name, given.get(name, ""), given["zone"])
        return given

    def moment(self, name: str, text: str, zone: str) -> datetime | None:
        if not text:
            return None
        try:
            return datetime.strptime(text, MOMENT).replace(tzinfo=ZoneInfo(zone))
        except ValueError:
            self.add_error(name, "Write it as 2026-12-24T18:00")
            return None

    def window(self) -> Window:
        given = self.cleaned_data
        return Window(
            title=given["title"],
            reason=given["reason"],
            starts_at=given["starts_at"],
            ends_at=given["ends_at"],
            weekdays=tuple(given["weekdays"]),
            from_time=given["from_time"],
            minutes=round((given["hours"] or 0) * 60),
            zone=given["zone"],
        )

    def scope_ids(self) -> dict[str, int | None]:
        kind, _, number = self.cleaned_data["scope"].partition(":")
        return {
            "cluster_id": int(number) if kind == "cluster" else None,
            "service_id": int(number) if kind == "service" else None,
        }
