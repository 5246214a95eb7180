"""Hooks of the OpenAPI schema: version 1 only, and the problem document everywhere."""

from collections.abc import Callable
from typing import Any, TypeVar

from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema

F = TypeVar("F", bound=Callable[..., Any])
IF_MATCH = OpenApiParameter(
    "If-Match", str, OpenApiParameter.HEADER, required=True, description="The ETag of what you read"
)
# Of what is frozen: its ETag names the content, which never changes.
IF_NONE_MATCH = OpenApiParameter(
    "If-None-Match", str, OpenApiParameter.HEADER, description="The ETag of what you have"
)
NOT_MODIFIED = {304: OpenApiResponse(description="You have it: nothing is sent")}
IDEMPOTENCY_KEY = {
    "in": "header",
    "name": "Idempotency-Key",
    "schema": {"type": "string", "maxLength": 255},
    "description": "The same key and body get the first answer again. Secrets are not repeated",
}
FIELDS = {
    "in": "query",
    "name": "fields",
    "schema": {"type": "string"},
    "description": "Members of the answer, with commas: id,total. None: all, as described here",
}

PROBLEM = {
    "type": "object",
    "required": ["type", "title", "status", "code", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string"},
        "detail": {"type": "string"},
        "instance": {"type": "string"},
        "request_id": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"pointer": {"type": "string"}, "detail": {"type": "string"}},
            },
        },
    },
}
ANY_ERROR = {
    "description": "Refused: an RFC 9457 problem document",
    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
}
TOO_MANY = {
    "description": "Refused: too many requests of a token, or wrong credentials of an address",
    "headers": {
        "Retry-After": {"schema": {"type": "integer"}, "description": "Seconds to wait"},
        "RateLimit": {
            "schema": {"type": "string"},
            "description": 'What remains, and seconds until all do: "requests";r=0;t=17',
        },
        "RateLimit-Policy": {
            "schema": {"type": "string"},
            "description": 'How many in so many seconds: "requests";q=1200;w=60',
        },
    },
    "content": ANY_ERROR["content"],
}
LIMITED = {"$ref": "#/components/responses/TooManyRequests"}


def operation(
    name: str,
    *,
    takes: Any = None,
    gives: Any = None,
    status: int = 200,
    filters: Any = None,
    header: OpenApiParameter | None = None,
    if_match: bool = False,
    is_frozen: bool = False,
) -> Callable[[F], F]:
    """Describe a method of a view. `filters` is the serializer of its query parameters."""
    parameters = [*([filters] if filters else []), *([IF_MATCH] if if_match else [])]
    parameters += [IF_NONE_MATCH] if is_frozen else []
    parameters += [header] if header else []
    responses = {status: gives} | (NOT_MODIFIED if is_frozen else {})
    described: Callable[[F], F] = extend_schema(
        operation_id=name, request=takes, responses=responses, parameters=parameters
    )
    return described


def only_v1(endpoints: list[tuple[str, str, str, Any]]) -> list[tuple[str, str, str, Any]]:
    return [e for e in endpoints if e[0].startswith("/api/v1/")]


def add_problems(result: dict[str, Any], **_: object) -> dict[str, Any]:
    result["components"].setdefault("schemas", {})["Problem"] = PROBLEM
    result["components"].setdefault("responses", {})["TooManyRequests"] = TOO_MANY
    for methods in result["paths"].values():
        for method, described in methods.items():
            described["responses"].setdefault("429", LIMITED)
            described["responses"].setdefault("default", ANY_ERROR)
            if method == "get" and "application/json" in content_of(described):
                described.setdefault("parameters", []).append(FIELDS)
            if method == "post":
                described.setdefault("parameters", []).append(IDEMPOTENCY_KEY)
    return result


def content_of(described: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = described["responses"].get("200", {}).get("content", {})
    return found
