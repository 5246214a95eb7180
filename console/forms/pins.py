"""The fields of a release's form for what is pinned beside model, image and arguments."""

from typing import Any

from django import forms

from fleet.rules.pins import Pins

BEGINS = "--- "
LINES = {"rows": 2, "spellcheck": "false", "autocomplete": "off"}
PINS = ("files", "configs", "secrets", "adapters", "regions", "confidential")


class PinsForm(forms.Form):
    files = forms.CharField(  # type: ignore[assignment]  # uploads of a form: fields are no attributes
        label="Files that the console makes",
        required=False,
        strip=False,
        widget=forms.Textarea(attrs=LINES | {"rows": 4}),
        help_text="Each begins with a line --- NAME/FILE and is read at /etc/config/NAME/FILE."
        " No secrets: a release is shown to many.",
    )
    configs = forms.CharField(
        label="Files from elsewhere", required=False, widget=forms.Textarea(attrs=LINES),
        help_text="ConfigMaps, one a line: NAME@sha256:… The object is NAME-<first 10 digits>.",
    )  # fmt: skip
    secrets = forms.CharField(
        label="Secrets", required=False, widget=forms.Textarea(attrs=LINES),
        help_text="One a line: NAME@sha256:… of its content, which stays in the cluster. Made by"
        " others: the console never holds one.",
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

    def clean_files(self) -> dict[str, dict[str, str]]:
        return read_files(self.cleaned_data["files"])

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


def read_files(text: str) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    into: list[str] | None = None
    parts: list[tuple[str, str, list[str]]] = []
    for line in text.replace("\r\n", "\n").splitlines(keepends=True):
        if line.startswith(BEGINS):
            name, slash, file = line.removeprefix(BEGINS).strip().partition("/")
            if not slash:
                raise forms.ValidationError(f"'{line.strip()[:60]}' is not --- NAME/FILE")
            into = []
            parts.append((name, file, into))
        elif into is not None:
            into.append(line)
        elif line.strip():
            raise forms.ValidationError("Begin with a line --- NAME/FILE")
    for name, file, lines in parts:
        if file in found.setdefault(name, {}):
            raise forms.ValidationError(f"{name}/{file} is given twice")
        found[name][file] = "".join(lines)
    return found


def written_files(pins: Pins) -> str:
    """A file without a line break at its end gets one: the next begins on a line of its own."""
    parts = [(n, f, text) for n, files in pins.files.items() for f, text in files.items()]
    return "".join(
        f"{BEGINS}{name}/{file}\n{text}" + "\n" * (not text.endswith("\n"))
        for name, file, text in parts
    )


def copied_pins(pins: Pins) -> dict[str, Any]:
    """As somebody would have typed them."""
    return {
        "files": written_files(pins),
        "configs": "\n".join(
            f"{name}@{digest}" for name, digest in pins.configs.items() if name not in pins.files
        ),
        "secrets": "\n".join(f"{name}@{digest}" for name, digest in pins.secrets.items()),
        "adapters": "\n".join(f"{a.name}={a.path}@{a.digest}" for a in pins.adapters),
        "regions": ", ".join(pins.regions),
        "confidential": pins.confidential,
    }
