"""The fields of a release's form for what is pinned beside model, image and arguments."""

from typing import Any

from django import forms

from fleet.rules.pins import Pins

LINES = {"rows": 2, "spellcheck": "false", "autocomplete": "off"}
PINS = ("configs", "secrets", "adapters", "regions", "confidential")


class PinsForm(forms.Form):
    configs = forms.CharField(
        label="Files", required=False, widget=forms.Textarea(attrs=LINES),
        help_text="ConfigMaps, one a line: NAME@sha256:… The object is NAME-<first 10 digits>.",
    )  # fmt: skip
    secrets = forms.CharField(
        label="Secrets", required=False, widget=forms.Textarea(attrs=LINES),
        help_text="One a line: NAME@sha256:… of its content, which stays in the cluster.",
    )  # fmt: skip
    adapters = forms.CharField(
        label="Adapters", required=False, widget=forms.Textarea(attrs=LINES),
        help_text="One a line: NAME=/path@sha256:… The engine serves each under its name.",
    )  # fmt: skip
    regions = forms.CharField(
        label="Regions", required=False, max_length=300,
        help_text="Where prompts may be processed, with commas. Empty: anywhere.",
    )  # fmt: skip
    confidential = forms.BooleanField(label="Only on confidential GPUs", required=False)

    def clean_configs(self) -> dict[str, str]:
        return self._objects("configs")

    def clean_secrets(self) -> dict[str, str]:
        return self._objects("secrets")

    def clean_adapters(self) -> list[dict[str, str]]:
        found = []
        for line in self._lines("adapters"):
            head, at, digest = line.rpartition("@")
            name, equals, path = head.partition("=")
            if not at or not equals:
                raise forms.ValidationError(f"'{line[:60]}' is not NAME=/path@sha256:…")
            found.append({"name": name.strip(), "path": path.strip(), "digest": digest.strip()})
        return found

    def clean_regions(self) -> list[str]:
        return [word.strip() for word in self.cleaned_data["regions"].split(",") if word.strip()]

    def _lines(self, field: str) -> list[str]:
        lines = (line.strip() for line in self.cleaned_data[field].splitlines())
        return [line for line in lines if line]

    def _objects(self, field: str) -> dict[str, str]:
        found = {}
        for line in self._lines(field):
            name, at, digest = line.partition("@")
            if not at:
                raise forms.ValidationError(f"'{line[:60]}' is not NAME@sha256:…")
            found[name.strip()] = digest.strip()
        return found


def copied_pins(pins: Pins) -> dict[str, Any]:
    """As somebody would have typed them."""
    return {
        "configs": "\n".join(f"{name}@{digest}" for name, digest in pins.configs.items()),
        "secrets": "\n".join(f"{name}@{digest}" for name, digest in pins.secrets.items()),
        "adapters": "\n".join(f"{a.name}={a.path}@{a.digest}" for a in pins.adapters),
        "regions": ", ".join(pins.regions),
        "confidential": pins.confidential,
    }
