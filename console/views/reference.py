"""The REST API for readers: from the same OpenAPI document that programs get.

Made here because the usual viewers need inline scripts and styles, which this console refuses.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET
from drf_spectacular.generators import SchemaGenerator

from console.access import ViewerRequest

Json = dict[str, Any]
PREFIX = "/api/v1/"
MOST_IN_FULL = 12  # operations with all members; the page of all of them would have 20,000 elements


@dataclass(frozen=True, slots=True)
class Field:
    name: str
    kind: str
    required: bool
    told: str


@dataclass(frozen=True, slots=True)
class Operation:
    id: str
    method: str
    path: str
    told: str
    parameters: tuple[Field, ...]
    takes: tuple[Field, ...]
    gives: tuple[Field, ...]
    status: str


@require_GET
def api(request: ViewerRequest) -> HttpResponse:
    """`q` narrows by a part of the path or the name; few operations are shown in full."""
    text = request.GET.get("q", "").strip().lower()
    groups = [
        {"name": name, "operations": shown}
        for name, operations in document().items()
        if (shown := [o for o in operations if text in o.path.lower() or text in o.id.lower()])
    ]
    count = sum(len(g["operations"]) for g in groups)
    context = {
        "groups": groups,
        "text": text,
        "in_full": count <= MOST_IN_FULL,
        "count": count,
        "host": request.build_absolute_uri(PREFIX),
    }
    return render(request, "account/api.html", context)


@cache
def document() -> dict[str, list[Operation]]:
    """Operations by the first part of their path. Made once a process: the code decides it."""
    schema: Json = SchemaGenerator().get_schema(request=None, public=True)
    found: dict[str, list[Operation]] = {}
    for path, methods in sorted(schema["paths"].items()):
        name = path.removeprefix(PREFIX).split("/")[0]
        for method, told in methods.items():
            found.setdefault(name, []).append(operation(schema, path, method, told))
    return found


def operation(schema: Json, path: str, method: str, told: Json) -> Operation:
    status = next((s for s in told["responses"] if s.startswith("2")), "")
    return Operation(
        id=told["operationId"],
        method=method.upper(),
        path=path,
        told=told.get("description", ""),
        parameters=tuple(
            Field(p["name"], kind_of(p["schema"]), p.get("required", False), where(p))
            for p in told.get("parameters", ())
            if p["in"] != "path"
        ),
        takes=fields(schema, content(told.get("requestBody", {}))),
        gives=fields(schema, content(told["responses"].get(status, {}))),
        status=status,
    )


def where(parameter: Json) -> str:
    told = parameter.get("description", "")
    return f"header; {told}".strip("; ") if parameter["in"] == "header" else told


def content(body: Json) -> Json:
    for media in body.get("content", {}).values():
        found: Json = media.get("schema", {})
        return found
    return {}


def fields(schema: Json, given: Json) -> tuple[Field, ...]:
    """The members of an object; of a page's rows, those of one row."""
    found = resolve(schema, given)
    if "results" in found.get("properties", {}):
        found = resolve(schema, found["properties"]["results"].get("items", {}))
    if found.get("type") == "array":
        found = resolve(schema, found.get("items", {}))
    needed = found.get("required", ())
    return tuple(
        Field(name, kind_of(resolve(schema, p)), name in needed, p.get("description", ""))
        for name, p in found.get("properties", {}).items()
    )


def resolve(schema: Json, given: Json) -> Json:
    """Follow one reference; what a nullable or described reference wraps is inside `allOf`."""
    for wrapped in (*given.get("allOf", ()), *given.get("oneOf", ())):
        if "$ref" in wrapped:
            given = wrapped
            break
    if "$ref" not in given:
        return given
    found: Json = schema["components"]["schemas"][given["$ref"].rpartition("/")[2]]
    return found


def kind_of(given: Json) -> str:
    if values := given.get("enum"):
        return " | ".join(str(v) for v in values if v not in ("", None))
    kind = given.get("type", "any")
    if isinstance(kind, list):
        kind = " or ".join(kind)
    if kind == "array":
        return f"list of {kind_of(given.get('items', {}))}"
    return f"{kind} ({given['format']})" if "format" in given else str(kind)
