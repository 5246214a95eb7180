"""The base of REST views: the viewer, ETags, idempotent writes, cursor pages."""

import hashlib
from collections.abc import Collection, Mapping
from typing import Any, cast

from django.db import connection
from django.http import HttpResponse
from django.utils.cache import get_conditional_response
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from tenants.actions.idempotency import Claim, claim_key, keep_answer, let_go
from tenants.api.base.authentication import Principal
from tenants.api.base.pages import Pages as Pages
from tenants.errors import Invalid, PreconditionRequired
from tenants.rules.access import Viewer
from tenants.rules.rates import Rate

KEPT_HEADERS = ("ETag", "Location")
SECRETS = frozenset({"secret", "password"})
NOBODYS = -1  # a version that no object ever has
FIELDS = "fields"  # the parameter that names the members of an answer


class ConsoleView(APIView):
    """A door: parse, call one action or query, answer.

    A write may carry `Idempotency-Key`: the same key and body get the first answer again, another
    body is refused. The claim is part of the write's transaction, so a repeat that arrives while
    the first one runs waits for it; a door without a transaction around it refuses the repeat.
    """

    pagination_class = Pages

    @property
    def viewer(self) -> Viewer:
        principal = cast(Principal, self.request.user)
        return principal.viewer

    def expected_version(self, of: object) -> int:
        """The version named in If-Match, which a change of a versioned object requires.

        `of` names the object, as its ETags begin; the ETag of another one is a version that nobody
        has, so the change finds it stale.
        """
        given = self.request.headers.get("If-Match")
        if given is None:
            raise PreconditionRequired("Send If-Match with the ETag of what you read")
        name, _, version = given.strip().removeprefix("W/").strip('"').rpartition("-")
        if not (version.isascii() and version.isdecimal()):
            raise Invalid(**{"If-Match": "Not an ETag of this API"})
        return int(version) if name == str(of) else NOBODYS

    def given(self, serializer: type[serializers.Serializer[Any]]) -> dict[str, Any]:
        """The checked members of the body; raises the faults of all fields at once."""
        read = serializer(data=self.request.data)
        read.is_valid(raise_exception=True)
        return dict(read.validated_data)

    def filters(self, serializer: type[serializers.Serializer[Any]]) -> dict[str, Any]:
        """The checked query parameters. A misspelt one is refused, not ignored, and so is one that
        is given twice: only the last would count."""
        known = set(serializer().fields) | {"limit", "cursor", "format", FIELDS}
        if unknown := sorted(set(self.request.query_params) - known):
            raise Invalid(**{unknown[0][:100]: "This parameter is not known here"})
        if twice := [n for n, values in self.request.query_params.lists() if len(values) > 1]:
            raise Invalid(**{twice[0]: "Give this parameter once"})
        self._are_read = True
        read = serializer(data=self.request.query_params.dict())
        read.is_valid(raise_exception=True)
        return dict(read.validated_data)

    def answer(self, data: Any = None, *, etag: str = "", status: int = 200) -> Response:
        """An answer that a later change can name by its ETag."""
        headers = {"ETag": etag} if etag else {}
        if isinstance(data, dict) and self.request.method == "GET":
            data = sparse(data, self.wanted_fields(data))
        return Response(data, status=204 if data is None else status, headers=headers)

    def unless_known(self, etag: str) -> HttpResponse | None:
        """304 when the client has it already; of what is frozen, whose ETag names the content."""
        if "If-None-Match" not in self.request.headers:
            return None
        known = get_conditional_response(self.request._request, etag=etag)
        if known is not None:
            known["ETag"] = etag
        return known

    def page(self, rows: Any, serializer: Any) -> Response:
        if not self._are_read:
            self.filters(serializers.Serializer)
        paginator: Pages = self.pagination_class()
        page: Any = paginator.paginate_queryset(rows, self.request, view=self)
        shown = serializer(page, many=True)
        wanted = self.wanted_fields(shown.child.fields)
        return paginator.get_paginated_response([sparse(row, wanted) for row in shown.data])

    def wanted_fields(self, known: Collection[str]) -> frozenset[str]:
        """Of `fields=id,total`; none: all of them. A misspelt one is refused, not left out."""
        given = self.request.query_params.get(FIELDS, "")
        wanted = frozenset(filter(None, given.split(",")))
        if unknown := sorted(wanted - set(known)):
            there = ", ".join(sorted(known))
            raise Invalid(fields=f"There is no member {unknown[0][:40]!r} here; there are {there}")
        return wanted

    def dispatch(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        self._claimed: Claim | None = None
        self._are_read = False  # the query parameters
        try:
            return super().dispatch(request, *args, **kwargs)
        finally:
            if self._claimed is not None and not connection.in_atomic_block:
                let_go(self._claimed)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        if "\x00" in request.path + "".join(request.query_params.dict().values()):
            raise Invalid("The address contains a NUL character, which no name has")
        key = request.headers.get("Idempotency-Key")
        if key and request.method in {"POST", "PUT", "PATCH", "DELETE"}:
            body = request._request.body
            print_of = hashlib.sha256(f"{request.method} {request.path}\n".encode() + body)
            self._claimed = claim_key(self.viewer, key, print_of.hexdigest())
            if self._claimed.answer is not None:
                raise AnsweredBefore(self._claimed.answer)

    def handle_exception(self, exc: Exception) -> Response:
        if isinstance(exc, AnsweredBefore):
            status, data, headers = exc.answer
            replayed = {"Idempotent-Replayed": "true"} | headers
            return Response(data, status=status, headers=replayed)
        return super().handle_exception(exc)

    def finalize_response(
        self,
        request: Request,
        response: Any,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        final = super().finalize_response(request, response, *args, **kwargs)
        rate: Rate | None = getattr(request._request, "rate", None)
        if rate is not None:
            final["RateLimit-Policy"], final["RateLimit"] = rate.policy, rate.state
        claimed = self._claimed
        if claimed is not None and claimed.answer is None and final.status_code < 400:
            kept = {name: final[name] for name in KEPT_HEADERS if name in final}
            keep_answer(claimed, final.status_code, without_secrets(final.data), kept)
        return final


def sparse(row: Mapping[str, Any], wanted: frozenset[str]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if not wanted or name in wanted}


def without_secrets(data: Any) -> Any:
    """A secret is shown once: a repeat of the request finds null in its place."""
    if isinstance(data, dict) and SECRETS & set(data):
        return {name: None if name in SECRETS else value for name, value in data.items()}
    return data


class AnsweredBefore(Exception):  # noqa: N818  # control flow, named for what happened
    def __init__(self, answer: tuple[int, Any, dict[str, str]]) -> None:
        self.answer = answer
