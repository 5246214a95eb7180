"""A new credential for a cluster: tokens end, and the old one is forgotten when the new works."""

from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from console.access import ViewerRequest, own_scope, refused
from console.forms import explain
from console.forms.fleet import ClusterForm
from fleet.actions import clusters as actions
from fleet.queries import clusters as queries
from tenants.base.scope import scope_of
from tenants.errors import ConsoleError
from tenants.rules.access import Permission


class CredentialForm(forms.Form):
    in_cluster = ClusterForm.base_fields["in_cluster"]
    kubeconfig = ClusterForm.base_fields["kubeconfig"]
    version = forms.IntegerField(widget=forms.HiddenInput)
    why = forms.CharField(label="Why", required=False, max_length=2000)

    def clean(self) -> dict[str, Any]:
        given = super().clean() or {}
        if not given.get("in_cluster") and not given.get("kubeconfig"):
            self.add_error("kubeconfig", "Paste a kubeconfig, or choose the console's own account")
        return given


@own_scope
@require_http_methods(["GET", "POST"])
def renew(request: ViewerRequest, slug: str) -> HttpResponse:
    """The cluster is asked before any transaction opens: it may take seconds to answer."""
    viewer = request.viewer
    try:
        with scope_of(viewer):
            found = queries.get_cluster(viewer, slug, timezone.now())
        viewer.require(Permission.MANAGE_FLEET)
    except ConsoleError as refusal:
        return refused(request, refusal)
    form = CredentialForm(request.POST or None, initial={"version": found.cluster.version})
    if request.method == "POST" and form.is_valid():
        try:
            return renewed(request, found.cluster, dict(form.cleaned_data))
        except ConsoleError as refusal:
            explain(form, refusal)
    with scope_of(viewer):
        context = {"form": form, "detail": found, "cluster": found.cluster}
        status = 422 if form.errors else 200
        return render(request, "clusters/credential.html", context, status=status)


def renewed(
    request: ViewerRequest, cluster: queries.ClusterRow, given: dict[str, Any]
) -> HttpResponse:
    examined = actions.examine(
        request.viewer,
        kubeconfig=given["kubeconfig"],
        in_cluster=given["in_cluster"],
        namespace=cluster.namespace,
    )
    with scope_of(request.viewer):
        actions.change(
            request.viewer, cluster.id, given["version"], examined=examined, why=given["why"]
        )
    messages.success(request, f"{cluster.slug} has a new credential: {examined.version} answers")
    return redirect("cluster", slug=cluster.slug)
