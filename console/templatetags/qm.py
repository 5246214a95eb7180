"""Tags and filters of all pages; loaded everywhere (`builtins` in settings), no {% load %}.

How pages use them, with examples: docs/developers/pages.md.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any
from urllib.parse import urlencode

from django import template
from django.forms import BoundField, CheckboxInput, Select
from django.http import HttpRequest
from django.template.base import Parser, Token
from django.template.defaulttags import URLNode
from django.template.defaulttags import url as django_url
from django.templatetags.static import static
from django.urls import NoReverseMatch
from django.utils import timezone
from django.utils.html import conditional_escape, escape, format_html
from django.utils.safestring import SafeString, mark_safe

from console import figures
from console.addresses import address
from console.words import Word, word

register = template.Library()
register.filter("count", figures.count)
register.filter("percent", figures.percent)
register.filter("change", figures.change)
register.filter("duration", figures.duration)
register.filter("ms", figures.milliseconds)
register.filter("size", figures.size)
register.filter("number", figures.number)
register.filter("exact", figures.exact)
register.filter("points", figures.points)
register.filter("gpu", figures.gpu)
register.filter("gpu_mix", figures.gpu_mix)
register.filter("hour", figures.hour)


@register.tag
def url(parser: Parser, token: Token) -> "Address":
    """Django's `url` with a memory: lists have hundreds of addresses."""
    node = django_url(parser, token)
    return Address(node.view_name, node.args, node.kwargs, node.asvar)


class Address(URLNode):
    def render(self, context: template.Context) -> str:
        if self.kwargs:
            return str(super().render(context))
        try:
            found = address(
                self.view_name.resolve(context), *(a.resolve(context) for a in self.args)
            )
        except NoReverseMatch:
            if self.asvar is None:
                raise
            found = ""
        if self.asvar:
            context[self.asvar] = found
            return ""
        return conditional_escape(found)


@register.filter
def money(amount: Decimal | None, currency: str = "USD") -> SafeString | str:
    """Rounded to the smallest unit for reading, the exact value on hover."""
    if amount is None:
        return figures.MISSING
    # Lists have a thousand amounts, and format_html takes longer than all the rest of a cell.
    exact, shown = escape(f"{amount:f} {currency}"), escape(figures.money(amount, currency))
    return mark_safe(f'<span title="{exact}">{shown}</span>')  # noqa: S308  # both are escaped


@register.simple_tag
@lru_cache(maxsize=1024)  # a long list shows the same few a thousand times
def icon(name: str, css: str = "") -> SafeString:
    return format_html(
        '<svg class="{}" aria-hidden="true"><use href="{}#{}"/></svg>',
        f"i {css}".strip(),
        static("vendor/icons.svg"),
        name,
    )


@register.simple_tag
def status(axis: str, value: object, text: str = "") -> SafeString:
    """Icon, colour and word in a line or a cell. Axes: console/words.py."""
    return _word(word(axis, value), "st", text)


@register.simple_tag
def pill(axis: str, value: object, text: str = "") -> SafeString:
    """The same as `status`, as a pill beside a title."""
    return _word(word(axis, value), "pill", text)


@register.simple_tag
def status_word(axis: str, value: object) -> str:
    """The word alone, where no picture fits: options of a select box."""
    return word(axis, value).text


@register.simple_tag
def tone_pill(tone: str, name: str, text: str) -> SafeString:
    return _word(Word(tone, name, text), "pill", "")


@register.simple_tag
def tone(tone: str, name: str, text: str) -> SafeString:
    return _word(Word(tone, name, text), "st", "")


@lru_cache(maxsize=1024)
def _word(shown: Word, css: str, text: str) -> SafeString:
    return format_html(
        '<span class="{} {}-{}">{}{}</span>',
        css,
        css,
        shown.tone,
        icon(shown.icon),
        text or shown.text,
    )


@register.simple_tag
def ago(moment: datetime | None, style: str = "") -> SafeString | str:
    """ "4 s ago", counting on in the browser, the absolute time on hover. Style "bare": "4 s"."""
    if moment is None:
        return "never"
    now = timezone.now()
    text = figures.age(moment, now)
    if style == "bare":
        text = text.removesuffix(" ago")
    return time_tag(moment, text, f' data-ago="{escape(style)}"')


@register.simple_tag
def when(moment: datetime | None, style: str = "") -> SafeString | str:
    """ "14:32" today, "23 Nov 14:32" before, in UTC. Style "full" or "day"."""
    if moment is None:
        return figures.MISSING
    if style == "day":
        return time_tag(moment, f"{moment:%d %b %Y}")
    return time_tag(moment, figures.moment(moment, timezone.now(), full=style == "full"))


@register.simple_tag
def days(start: datetime, end: datetime) -> SafeString:
    """ "21 Nov 2026 to 28 Nov 2026": the whole days of [start, end), the last of them included."""
    last = end - timedelta(days=1)
    return mark_safe(  # noqa: S308  # of two moments
        time_tag(start, f"{start:%d %b %Y}") + " to " + time_tag(last, f"{last:%d %b %Y}")
    )


def time_tag(moment: datetime, text: str, more: str = "") -> SafeString:
    """Without format_html, which takes several times as long: lists have hundreds of moments."""
    full = figures.moment(moment, moment, full=True)
    return mark_safe(  # noqa: S308  # written from a moment; `more` is escaped
        f'<time datetime="{moment.isoformat()}"{more} title="{full}">{text}</time>'
    )


@register.simple_tag
def copy(text: str, name: str = "") -> SafeString:
    """A button that copies `text`."""
    label, picture = conditional_escape(name or text), icon("copy", "i-s")
    return mark_safe(  # noqa: S308  # both texts are escaped
        f'<button class="cp" type="button" data-copy="{conditional_escape(text)}" '
        f'aria-label="Copy {label}">{picture}</button>'
    )


@register.simple_tag
def digest(value: str | None, length: int = 8) -> SafeString | str:
    """The beginning of a digest or an id, the whole on hover, with a copy button."""
    if not value:
        return figures.MISSING
    shown = value.removeprefix("sha256:")[:length]
    return format_html('<span class="dg" title="{}">{}</span>{}', value, shown, copy(value))


@register.simple_tag
@lru_cache(maxsize=64)
def outcome_swatch(outcome: str) -> SafeString:
    """The square of an outcome's colour; the word stands beside it."""
    css = outcome.replace("_", "-")
    return format_html(
        '<svg class="sw" viewBox="0 0 14 14" aria-hidden="true">'
        '<rect class="f-{}" width="14" height="14"/>{}</svg>',
        css,
        mark_safe(PATTERNS.get(css, "")),  # noqa: S308  # a constant of this file
    )


PATTERNS = {
    "rerouted": '<path class="pt" d="M-1 8L8 -1M3 15L15 3"/>',
    "degraded": '<circle class="pd" cx="4" cy="4" r="1.6"/><circle class="pd" cx="10" cy="4" '
    'r="1.6"/><circle class="pd" cx="4" cy="10" r="1.6"/><circle class="pd" cx="10" cy="10" '
    'r="1.6"/>',
    "rejected": '<path class="pt" d="M0 0L14 14M14 0L0 14"/>',
    "shed": '<path class="pt" d="M-1 6L8 15M6 -1L15 8M2 2L12 12"/>',
    "timed-out": '<path class="pt" d="M4 0V14M10 0V14"/>',
    "cancelled": '<path class="pt" d="M0 4H14M0 10H14"/>',
    "failed": '<path class="pt" d="M7 0V14M0 7H14"/>',
}


@register.simple_tag
def bar(*parts: object, total: float, label: str, css: str = "") -> SafeString:
    """A bar of parts: pairs of CSS fill and value, e.g. `{% bar "used" 5 "free" 3 total=8 … %}`."""
    at, cells = 0.0, []
    for fill, value in zip(parts[::2], parts[1::2], strict=True):
        width = 100 * min(1.0, float(value or 0) / float(total or 1))  # type: ignore[arg-type]
        place = f'x="{at:.2f}" width="{width:.2f}" height="10"'
        cells.append(f'<rect class="f-{escape(fill)}" {place}/>')
        at += width
    return mark_safe(  # noqa: S308  # numbers, and texts that are escaped
        f'<svg class="bar {escape(css)}" viewBox="0 0 100 10" preserveAspectRatio="none" '
        f'role="img" aria-label="{conditional_escape(label)}">{"".join(cells)}</svg>'
    )


@register.simple_tag
def uses_bar(fills: Sequence[tuple[str, Decimal]], label: str) -> SafeString:
    """The bar of shares that add up to 1: pairs of CSS fill and share."""
    parts = [value for pair in fills for value in pair]
    return bar(*parts, total=1, label=label, css="bar-14")


@register.simple_tag
@lru_cache(maxsize=64)
def swatch(fill: str) -> SafeString:
    """The square of a colour in a key; the word stands beside it."""
    return format_html(
        '<svg class="sw" viewBox="0 0 14 14" aria-hidden="true">'
        '<rect class="f-{}" width="14" height="14"/></svg>',
        fill,
    )


@register.simple_tag
def percent_of(part: Decimal, whole: Decimal) -> str:
    return figures.percent(part / whole if whole else None)


@register.inclusion_tag("components/why.html")
def why(text: str, tone: str = "info", name: str = "") -> dict[str, str]:
    """One sentence for the person who must act, with numbers. Tone: info, ok, warn, bad."""
    icons = {"ok": "circle-check", "warn": "alert-triangle", "bad": "alert-octagon"}
    return {"text": text, "tone": tone, "icon": name or icons.get(tone, "info-circle")}


@register.inclusion_tag("components/empty.html")
def empty(
    title: str, text: str = "", name: str = "list-search", url: str = "", act: str = ""
) -> dict[str, str]:  # noqa: E501
    """Say which emptiness it is and the next step, with a button when `url` is given."""
    return {"title": title, "text": text, "icon": name, "url": url, "act": act}


@register.simple_tag
def options(names: Iterable[str], chosen: str) -> SafeString:
    """Lines of a select box for names of what grows with the fleet: hundreds of them."""
    lines = (
        f"<option{' selected' if name == chosen else ''}>{escape(name)}</option>" for name in names
    )
    return mark_safe("".join(lines))  # noqa: S308  # each name is escaped


@register.inclusion_tag("components/field.html")
def field(bound: BoundField, css: str = "") -> dict[str, Any]:
    """A form field with its label, help and errors, tied together for screen readers."""
    described = [f"{bound.id_for_label}-help"] if bound.help_text else []
    if bound.errors:
        described.append(f"{bound.id_for_label}-err")
    attrs: dict[str, str | bool] = {}
    if described:
        attrs["aria-describedby"] = " ".join(described)
    if bound.errors:
        attrs["aria-invalid"] = "true"
    return {
        "field": bound,
        "widget": bound.as_widget(attrs=attrs),
        "check": isinstance(bound.field.widget, CheckboxInput),
        # A select always says something: its first line names what holds when nothing is chosen.
        "optional": not bound.field.required and not isinstance(bound.field.widget, Select),
        "group": bound.use_fieldset,
        "css": css,
    }


@register.inclusion_tag("components/chart.html")
def chart(
    drawn: object, css: str = "w6 m-w12", height: int = 180, note: str = ""
) -> dict[str, Any]:  # noqa: E501
    """A card with a chart, its key, its table twin and CSV. `drawn` is a `console.charts.Chart`.

    Height: one of 90, 110, 130, 150, 180, 220, 240, 260, 280, 320 (classes, no inline style).
    """
    return {"chart": drawn, "css": css, "height": height, "note": note}


@register.simple_tag
def twin(rows: Sequence[Sequence[str]]) -> SafeString:
    """The body of a chart's table, which has a thousand cells: a loop of tags takes 20 ms."""
    return mark_safe("".join(map(twin_row, rows)))  # noqa: S308  # each cell is escaped


def twin_row(row: Sequence[str]) -> str:
    cells = "".join(f'<td class="num">{escape(cell)}</td>' for cell in row[1:])
    return f'<tr><th scope="row" class="nw">{escape(row[0])}</th>{cells}</tr>'


@register.inclusion_tag("components/plot.html")
def plot(drawn: object, height: int = 110, static: bool = True) -> dict[str, Any]:
    """Only the figure, without a card; show its figures as text or a table beside it."""
    return {"chart": drawn, "height": height, "static": static}


@register.inclusion_tag("components/pager.html", takes_context=True)
def pager(context: template.Context, page: object, noun: str = "rows") -> dict[str, Any]:
    """Links to the pages of a `django.core.paginator.Page`, keeping the other parameters."""
    return {"page": page, "noun": noun, "request": context["request"]}


@register.simple_tag(takes_context=True)
def query(context: template.Context, **changes: object) -> str:
    """The page's own address with some parameters changed; None drops one. Begins with `?`."""
    request: HttpRequest = context["request"]
    values = {k: v for k, v in request.GET.lists() if k not in changes}
    values |= {k: [str(v)] for k, v in changes.items() if v not in (None, "")}
    return "?" + urlencode(values, doseq=True)


@register.inclusion_tag("components/sort.html", takes_context=True)
def sort(context: template.Context, key: str, label: str, css: str = "") -> dict[str, Any]:
    """A `<th>` that sorts by `?sort=key` or `?sort=-key`, with `aria-sort`."""
    now = context["request"].GET.get("sort", "")
    state = {key: "ascending", f"-{key}": "descending"}.get(now, "")
    to = f"-{key}" if now == key else key
    return {"label": label, "state": state, "url": query(context, sort=to, page=None), "css": css}


@register.simple_tag(takes_context=True)
def live(
    context: template.Context, name: str, every: int = 5, also: str = "", source: str = ""
) -> SafeString:
    """Attributes that make an element refetch itself: `<div {% live "replicas" %}>`.

    `also` names a second element that is taken from the same answer, such as "page-head".

    The element is cut out of the next rendering of the same page, or of the route `source`.
    Focus, scroll positions and open twins survive; nothing is replaced while somebody types,
    selects or has a dialog open.
    """
    request: HttpRequest = context["request"]
    return format_html(
        'id="{0}" data-live hx-get="{1}" hx-trigger="every {2}s" hx-select="#{0}" '
        'hx-swap="outerHTML" hx-target="this" hx-disinherit="*"{3}',
        name,
        address(source) if source else request.get_full_path(),
        every,
        format_html(' hx-select-oob="#{}"', also) if also else "",
    )
