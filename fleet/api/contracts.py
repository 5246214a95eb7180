"""Output contracts: prompts that releases of a service must answer as recorded."""

from typing import Any

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from fleet.actions import contracts as actions
from fleet.queries import contracts as queries
from fleet.rules.contract.prompts import MOST
from tenants.api.base.schema import operation
from tenants.api.base.serializers import Strict, TextField
from tenants.api.base.views import ConsoleView


class ContractVersionOut(serializers.Serializer[Any]):
    version = serializers.IntegerField()
    prompts = serializers.IntegerField()
    by = serializers.CharField()
    at = serializers.DateTimeField()
    why = serializers.CharField()


class OutputContractOut(serializers.Serializer[Any]):
    service_id = serializers.IntegerField()
    version = serializers.IntegerField(help_text="0: nobody ever kept a set")
    prompts = serializers.ListField(child=serializers.DictField())
    versions = ContractVersionOut(many=True)


class PromptAnswerOut(serializers.Serializer[Any]):
    pod = serializers.CharField()
    name = serializers.CharField()
    kind = serializers.CharField()
    expected = serializers.CharField()
    verdict = serializers.CharField(help_text="pass, fail; error: no answer")
    why = serializers.CharField()
    shown = serializers.CharField(help_text="The beginning of the answer")
    status = serializers.IntegerField(help_text="Of HTTP; 0: none came")
    milliseconds = serializers.FloatField()
    prompt_tokens = serializers.IntegerField()
    completion_tokens = serializers.IntegerField()


class ContractTriedOut(serializers.Serializer[Any]):
    release = serializers.CharField()
    pod = serializers.CharField()
    kept = serializers.BooleanField(help_text="Every answer is as expected")
    answers = PromptAnswerOut(many=True)


class ContractResultOut(serializers.Serializer[Any]):
    """Of a rollout. Null: the service had no prompts when it was proposed."""

    version = serializers.IntegerField()
    prompts = serializers.IntegerField()
    at = serializers.DateTimeField(allow_null=True)
    verdict = serializers.CharField(help_text="pass, fail, error; empty: not all answered yet")
    why = serializers.CharField()
    answers = PromptAnswerOut(many=True)


class PromptsIn(Strict):
    prompts = serializers.ListField(
        child=serializers.DictField(),
        max_length=MOST,
        help_text="Each with name, kind (text, json, stop, tool_call, too_long), expectations",
    )


class OutputContractIn(PromptsIn):
    why = TextField(max_length=2000)


class ContractView(ConsoleView):
    @operation("output_contracts_get", gives=OutputContractOut)
    def get(self, request: Request, service_id: int) -> Response:
        """The prompts that hold now, and all versions."""
        return answered(self, service_id)

    @operation(
        "output_contracts_keep", takes=OutputContractIn, gives=OutputContractOut, if_match=True
    )
    def put(self, request: Request, service_id: int) -> Response:
        """Keep a new version; no prompts at all lift it. Open rollouts hold to theirs."""
        queries.get_contract(self.viewer, service_id)
        given = self.given(OutputContractIn)
        expected = self.expected_version(of=service_id)
        actions.keep_contract(self.viewer, service_id, expected, **given)
        return answered(self, service_id)


class TryContractView(ConsoleView):
    @operation("output_contracts_try", takes=PromptsIn, gives=ContractTriedOut)
    def post(self, request: Request, service_id: int) -> Response:
        """Put prompts to one replica that serves now. Nothing is kept and nobody is billed."""
        given = self.given(PromptsIn)
        tried = actions.try_contract(self.viewer, service_id, given["prompts"])
        return self.answer(ContractTriedOut(tried).data)


def answered(view: ConsoleView, service_id: int) -> Response:
    found = queries.get_contract(view.viewer, service_id)
    return view.answer(OutputContractOut(found).data, etag=found.etag)
