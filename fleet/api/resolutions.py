"""Resolutions: what a tag or a branch means, asked once and kept."""

from typing import Any

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from fleet.actions import resolutions as actions
from fleet.queries import resolutions as queries
from tenants.api.base.schema import operation
from tenants.api.base.serializers import Strict, TextField
from tenants.api.base.views import ConsoleView
from tenants.base.scope import scope_of


class ModelPartOut(serializers.Serializer[Any]):
    part = serializers.CharField(help_text="tokenizer, code or chat_template")
    name = serializers.CharField(help_text="Repository")
    label = serializers.CharField(help_text="Branch, where it is not the model's own repository")  # type: ignore[assignment]  # DRF takes fields off the class
    pinned = serializers.CharField(help_text="Commit of the repository, digest of a template")
    digest = serializers.CharField(help_text="Of the contents; empty: the repository tells none")
    files = serializers.ListField(child=serializers.CharField())


class ResolutionOut(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    kind = serializers.CharField(help_text="image or model")
    name = serializers.CharField()
    label = serializers.CharField(help_text="The tag or branch that was asked for")  # type: ignore[assignment]  # DRF takes fields off the class
    pinned = serializers.CharField(help_text="sha256:... of an image, 40-hex commit of a model")
    answer = serializers.DictField(help_text="What the registry said")
    signature = serializers.DictField(
        help_text="state: verified, partial, unsigned, wrong, unchecked; why; who; of a model the"
        " files that it covers and those outside of it"
    )
    shape = serializers.DictField(allow_null=True, help_text="Of a model, for checks of memory")
    parts = ModelPartOut(many=True, help_text="Of a model: what it consists of beside its weights")
    by = serializers.CharField()
    at = serializers.DateTimeField()


class ResolveImageIn(Strict):
    image = TextField(max_length=400, help_text="registry/repository:tag")


class ResolveModelIn(Strict):
    model = TextField(
        max_length=200, help_text="organisation/repository, or registry/repository of an artifact"
    )
    revision = TextField(max_length=120, help_text="Branch, tag or commit")
    tokenizer = TextField(
        required=False,
        allow_blank=True,
        max_length=320,
        help_text="organisation/repository[@branch] of a tokenizer that is not the model's own",
    )


class ResolutionFilter(serializers.Serializer[Any]):
    kind = serializers.ChoiceField(choices=["image", "model"], required=False)
    name = serializers.CharField(required=False, max_length=300)
    label = serializers.CharField(  # type: ignore[assignment]  # DRF takes fields off the class
        required=False, max_length=128, help_text="Tag or branch: what it meant, without asking"
    )


class ResolutionsView(ConsoleView):
    @operation("resolutions_list", gives=ResolutionOut(many=True), filters=ResolutionFilter)
    def get(self, request: Request) -> Response:
        """The last hundred, newest first."""
        rows = queries.list_resolutions(self.viewer, **self.filters(ResolutionFilter))
        return self.answer(ResolutionOut(rows, many=True).data)


class ResolveImageView(ConsoleView):
    @operation("resolve_image", takes=ResolveImageIn, gives=ResolutionOut, status=201)
    def post(self, request: Request) -> Response:
        """Ask the registry once what a tag means, check its signature, and keep the answer."""
        return self.kept(actions.ask_image(self.viewer, self.given(ResolveImageIn)["image"]))

    def kept(self, answered: actions.Answered) -> Response:
        with scope_of(self.viewer):
            row = actions.keep(self.viewer, answered)
            found = queries.get_resolution(self.viewer, row.pk)
        return self.answer(ResolutionOut(found).data, status=201)


class ResolveModelView(ResolveImageView):
    @operation("resolve_model", takes=ResolveModelIn, gives=ResolutionOut, status=201)
    def post(self, request: Request) -> Response:
        """Ask the model repository once which commit a branch is, and keep the answer."""
        given = self.given(ResolveModelIn)
        tokenizer = given.get("tokenizer", "")
        return self.kept(
            actions.ask_model(self.viewer, given["model"], given["revision"], tokenizer)
        )


class CheckAgainView(ConsoleView):
    @operation("resolutions_check_signature", gives=ResolutionOut, status=201)
    def post(self, request: Request, resolution_id: int) -> Response:
        """Judge the newest kept signatures of its digest or commit with the keys of now.

        The answer is kept. Asks nobody.
        """
        row = actions.check_again(self.viewer, resolution_id)
        found = queries.get_resolution(self.viewer, row.pk)
        return self.answer(ResolutionOut(found).data, status=201)
