"""Forms of clusters and services."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from django import forms

from fleet.rules.objectives import DEFAULTS, FIELDS, LIMITS

PROVIDER_HELP = "Of a hosted one, as prices and bills name it. Empty: the short name."
UNITS = {"ttft_ms": "TTFT p95, ms", "itl_ms": "Inter-token p95, ms", "queue_ms": "Queue, ms"}


class ClusterForm(forms.Form):
    slug = forms.SlugField(
        label="Short name", max_length=63, help_text="Small letters, digits, dashes. It stays."
    )
    name = forms.CharField(label="Name", max_length=120, required=False)
    region = forms.CharField(
        label="Region", max_length=64, help_text="Tenants' residency is compared with it."
    )
    namespace = forms.CharField(label="Namespace of the engines", max_length=63, initial="models")
    in_cluster = forms.BooleanField(
        label="The console runs in this cluster: use its own account", required=False
    )
    kubeconfig = forms.CharField(
        label="Kubeconfig",
        required=False,
        widget=forms.Textarea(attrs={"rows": 10, "spellcheck": "false", "autocomplete": "off"}),
        help_text="With the token of that account. Kept encrypted, never shown again."
        " Commands (exec plugins) and switched-off TLS checks are refused.",
    )
    hosted = forms.BooleanField(label="Managed by somebody else (hosted)", required=False)
    provider = forms.CharField(
        label="Provider", max_length=63, required=False, help_text=PROVIDER_HELP
    )
    confidential = forms.BooleanField(label="Confidential computing", required=False)

    def clean(self) -> dict[str, Any]:
        given = super().clean() or {}
        if not given.get("in_cluster") and not given.get("kubeconfig"):
            self.add_error("kubeconfig", "Paste a kubeconfig, or choose the console's own account")
        return given


class ClusterChangeForm(forms.Form):
    name = forms.CharField(label="Name", max_length=120)
    region = forms.CharField(label="Region", max_length=64, required=False)
    hosted = forms.BooleanField(label="Managed by somebody else (hosted)", required=False)
    provider = forms.CharField(
        label="Provider", max_length=63, required=False, help_text=PROVIDER_HELP
    )
    confidential = forms.BooleanField(label="Confidential computing", required=False)
    weights_cache = forms.CharField(
        label="Cache for weights of a hub",
        max_length=253,
        required=False,
        help_text="A directory of each node (/srv/weights), or the name of a"
        " PersistentVolumeClaim. New releases mount it. Empty: none.",
    )
    weights_secret = forms.CharField(
        label="Secret with the hub's token",
        max_length=253,
        required=False,
        help_text="In the namespace of the engines, under the key token. Empty: asked without.",
    )
    version = forms.IntegerField(widget=forms.HiddenInput)


class ServiceForm(forms.Form):
    """A new service, or (given `fixed_name`) the change of one."""

    name = forms.SlugField(
        label="Served model name", max_length=63, help_text="What tenants call. It stays."
    )
    description = forms.CharField(label="Description", max_length=200, required=False)
    cluster_id = forms.TypedChoiceField(
        label="Cluster", coerce=int, empty_value=None, required=False
    )
    fallbacks = forms.CharField(
        label="Fallbacks",
        required=False,
        help_text="Other services, in order, separated by commas. Used before the first byte only.",
    )
    version = forms.IntegerField(widget=forms.HiddenInput, required=False)

    def __init__(
        self,
        *args: Any,
        clusters: Iterable[tuple[int, str]] = (),
        fixed_name: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        choices = [("", "None yet"), *((str(pk), slug) for pk, slug in clusters)]
        self.fields["cluster_id"].choices = choices  # type: ignore[attr-defined]
        for limit, label in LIMIT_LABELS.items():
            least, most = LIMITS[limit]
            self.fields[limit] = forms.IntegerField(label=label, min_value=least, max_value=most)
        for traffic_class in DEFAULTS:
            for field in FIELDS:
                self.fields[f"{traffic_class}_{field}"] = forms.IntegerField(
                    label=UNITS[field],
                    required=False,
                    min_value=1,
                    widget=forms.NumberInput(
                        attrs={"placeholder": f"{DEFAULTS[traffic_class][field]} by default"}
                    ),
                )
        if fixed_name:
            del self.fields["name"]

    def limits(self) -> dict[str, int]:
        return {limit: self.cleaned_data[limit] for limit in LIMIT_LABELS}

    def objectives(self) -> dict[str, dict[str, int]]:
        found: dict[str, dict[str, int]] = {}
        for traffic_class in DEFAULTS:
            values = {
                field: value
                for field in FIELDS
                if (value := self.cleaned_data[f"{traffic_class}_{field}"])
            }
            if values:
                found[traffic_class] = values
        return found

    def fallback_names(self) -> list[str]:
        return [n for n in re.split(r"[,\s]+", self.cleaned_data["fallbacks"]) if n]

    def by_class(self) -> list[tuple[str, list[forms.BoundField]]]:
        return [(c, [self[f"{c}_{field}"] for field in FIELDS]) for c in DEFAULTS]

    def limit_fields(self) -> list[forms.BoundField]:
        return [self[limit] for limit in LIMIT_LABELS]


LIMIT_LABELS = {
    "replicas": "Replicas of the next rollout",
    "max_model_len": "Longest context, tokens",
    "default_max_tokens": "Answer length when none is asked for, tokens",
    "max_queue": "Requests that may wait",
    "request_seconds": "Longest request, seconds",
    "chunk_seconds": "Longest silence within an answer, seconds",
    "prefetch_seconds": "Rollouts wait for their image on nodes, seconds (0: they do not)",
}
NEW_SERVICE = {
    "replicas": 1,
    "max_model_len": 4096,
    "default_max_tokens": 256,
    "max_queue": 256,
    "request_seconds": 300,
    "chunk_seconds": 30,
    "prefetch_seconds": 900,
}


def objective_values(own: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    return {f"{c}_{field}": value for c, values in own.items() for field, value in values.items()}
