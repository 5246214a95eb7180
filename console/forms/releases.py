"""The form of a release. Its sentences come from the action: what is pinned is a rule."""

from collections.abc import Iterable
from typing import Any

from django import forms

from console.forms.pins import PINS, PinsForm, copied_pins
from console.forms.selects import LongSelect
from fleet.queries.releases import ReleaseDetail
from fleet.rules.groups import line_of, read_lines
from fleet.rules.release import KV_LEASE, Probes, Resources

MODEL_FIELDS = (
    "label", "commit", "tokenizer_commit", "code_commit", "chat_template_digest", "licence",
)  # fmt: skip
LINES = {"rows": 5, "spellcheck": "false", "autocomplete": "off"}


class ReleaseForm(PinsForm):
    service_id = forms.TypedChoiceField(label="Service", coerce=int, widget=LongSelect)
    note = forms.CharField(
        label="Note", max_length=300, required=False, help_text="Why this release exists."
    )
    model = forms.CharField(
        label="Model",
        max_length=200,
        help_text="org/model, registry/repository, or a path inside the image.",
    )
    commit = forms.CharField(
        label="Commit of the weights",
        max_length=71,
        help_text="40 hexadecimal digits, or sha256:… of an artifact. Resolve a branch first.",
    )
    label = forms.CharField(
        label="Branch or tag it was read from",
        required=False,
        help_text="Only to notice when the name has moved since.",
    )
    tokenizer_commit = forms.CharField(
        label="Commit of the tokenizer", required=False, help_text="Empty: as the weights."
    )
    code_commit = forms.CharField(label="Commit of the model's code", required=False)
    chat_template_digest = forms.CharField(label="Digest of the chat template", required=False)
    licence = forms.CharField(label="Licence", required=False, max_length=64)
    image = forms.CharField(
        label="Image",
        max_length=400,
        help_text="repository[:tag]@sha256:… Resolve a tag first.",
    )
    arguments = forms.CharField(
        label="Arguments of vLLM", required=False, widget=forms.Textarea(attrs=LINES),
        help_text="One a line: --max-model-len=4096",
    )  # fmt: skip
    environment = forms.CharField(
        label="Environment", required=False, widget=forms.Textarea(attrs=LINES),
        help_text="One a line: NAME=value. No secrets: a release is shown to many.",
    )  # fmt: skip
    gpu_product = forms.CharField(
        label="GPU product", required=False, help_text="Empty: any node with GPUs."
    )
    gpus = forms.IntegerField(label="GPUs of a pod", min_value=0, initial=1)
    group_size = forms.IntegerField(
        label="Pods of an engine", min_value=1, initial=1, required=False,
        help_text="Above 1: a leader and its workers, on a node each, with the GPUs above each.",
    )  # fmt: skip
    topology = forms.CharField(
        label="These pods together by", required=False, max_length=317,
        help_text="A label of nodes: nvidia.com/gpu.clique keeps the pods of an engine in one"
        " fabric clique, alone there. Needs LeaderWorkerSet. Empty: wherever there is room.",
    )  # fmt: skip
    subgroup_size = forms.IntegerField(
        label="Together in parts of, pods", min_value=0, initial=0, required=False,
        help_text="0: all pods of an engine.",
    )  # fmt: skip
    cpu = forms.CharField(label="CPU", initial=Resources().cpu)
    memory = forms.CharField(label="Memory", initial=Resources().memory)
    shared_memory = forms.CharField(label="Shared memory", initial=Resources().shared_memory)
    roles = forms.CharField(
        label="Pods of a replica", required=False, widget=forms.Textarea(attrs=LINES | {"rows": 2}),
        help_text="Empty: one, which does the whole work. Or a line each for prefill and decode,"
        " with pods, GPUs of a pod, their product where it is another one, and arguments on top:"
        " decode 2, 1 GPU of NVIDIA-L40S, --max-num-seqs=16",
    )  # fmt: skip
    startup_seconds = forms.IntegerField(
        label="Longest start, seconds", min_value=1, initial=Probes().startup_seconds
    )
    pre_stop_seconds = forms.IntegerField(
        label="Wait before draining, seconds", min_value=0, initial=Probes().pre_stop_seconds
    )
    drain_seconds = forms.IntegerField(
        label="Longest drain, seconds", min_value=0, initial=Probes().drain_seconds
    )
    teardown_seconds = forms.IntegerField(
        label="Teardown, seconds", min_value=0, initial=Probes().teardown_seconds
    )
    kv_lease_seconds = forms.IntegerField(
        label="KV lease, seconds", min_value=0, required=False,
        help_text="Of prefill and decode: from the end of traffic until prefill goes, so that"
        f" decode fetches its blocks. Empty: {KV_LEASE}.",
    )  # fmt: skip

    def __init__(self, *args: Any, services: Iterable[tuple[int, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["service_id"].choices = list(services)  # type: ignore[attr-defined]

    def clean_environment(self) -> dict[str, str]:
        found = {}
        for line in self.cleaned_data["environment"].splitlines():
            if not line.strip():
                continue
            name, equals, value = line.strip().partition("=")
            if not equals or not name:
                raise forms.ValidationError(f"'{line.strip()[:60]}' is not NAME=value")
            found[name] = value
        return found

    def clean_roles(self) -> list[dict[str, Any]]:
        try:
            return read_lines(self.cleaned_data["roles"].splitlines())
        except ValueError as error:
            raise forms.ValidationError(str(error)) from error

    def clean_arguments(self) -> list[str]:
        lines = (line.strip() for line in self.cleaned_data["arguments"].splitlines())
        return [line for line in lines if line]

    def values(self) -> dict[str, Any]:
        """The keyword arguments of `create_release`."""
        given = self.cleaned_data
        model = {"name": given["model"]} | {k: given[k] for k in MODEL_FIELDS if given[k]}
        resources = {k: given[k] for k in RESOURCES if given[k] is not None}
        return {
            "model": model,
            "image": given["image"],
            "arguments": given["arguments"],
            "environment": given["environment"],
            "pins": {k: given[k] for k in PINS},
            "resources": resources,
            "probes": {k: given[k] for k in PROBES if given[k] is not None},
            "roles": given["roles"],
            "note": given["note"],
        }

    def groups(self) -> list[tuple[str, list[forms.BoundField]]]:
        return [(title, [self[name] for name in names]) for title, names in GROUPS.items()]


RESOURCES = (
    "gpu_product", "gpus", "group_size", "topology", "subgroup_size", "cpu", "memory",
    "shared_memory",
)  # fmt: skip
PROBES = (
    "startup_seconds", "pre_stop_seconds", "drain_seconds", "teardown_seconds", "kv_lease_seconds",
)  # fmt: skip
GROUPS = {
    "For which service": ("service_id", "note"),
    "Model version": ("model", *MODEL_FIELDS),
    "Engine": ("image", "arguments", "environment"),
    "Files, adapters, data policy": PINS,
    "A replica needs": (*RESOURCES, "roles"),
    "Times": PROBES,
}


def copied(detail: ReleaseDetail) -> dict[str, Any]:
    """Start from another release: most releases change one line."""
    release = detail.release
    tag = f":{release.image_tag}" if release.image_tag else ""
    return {
        "service_id": release.service_id,
        "model": release.model,
        "commit": release.commit,
        "label": detail.model_label,
        "tokenizer_commit": detail.tokenizer_commit,
        "code_commit": detail.code_commit,
        "chat_template_digest": detail.chat_template_digest,
        "licence": detail.licence,
        "image": f"{release.image}{tag}@{release.image_digest}",
        "arguments": "\n".join(detail.arguments),
        "environment": "\n".join(f"{k}={v}" for k, v in detail.environment.items()),
        **copied_pins(detail.pins),
        "roles": "\n".join(line_of(role) for role in detail.roles),
        **{k: getattr(detail.resources, k) for k in RESOURCES},
        **{k: getattr(detail.probes, k) for k in PROBES},
    }
