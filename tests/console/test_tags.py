"""What tags write without a template is what a template would write, escaped as there."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from django.template import engines
from django.urls import NoReverseMatch, reverse

from console.addresses import address
from console.charts import Series, rank_chart

AT = datetime(2026, 11, 3, 14, 5, tzinfo=UTC)


def written(text: str, **values: object) -> str:
    return engines["django"].from_string(text).render(values)


def test_it_remembers_an_address_and_writes_it_as_django_does():
    for _ in range(2):
        assert address("tenant", "acme") == reverse("tenant", args=["acme"])
        assert address("rollout", 7) == reverse("rollout", args=[7])
    assert written("{% url 'tenant' slug %}", slug="acme") == "/tenants/acme/"
    assert written("{% url 'tenant' slug as u %}[{{ u }}]", slug="acme") == "[/tenants/acme/]"
    assert written("{% url 'tenant' slug=slug %}", slug="acme") == "/tenants/acme/"


def test_it_finds_no_address_where_there_is_none():
    with pytest.raises(NoReverseMatch):
        written("{% url 'no_such_page' %}")
    assert written("{% url 'no_such_page' as u %}[{{ u }}]") == "[]"


def test_it_writes_the_table_of_a_chart_with_each_name_escaped():
    chart = rank_chart("r", "R", ["acme", "<b>"], [Series("USD", [3, None])])
    assert written("{% twin rows %}", rows=chart.rows) == (
        '<tr><th scope="row" class="nw">acme</th><td class="num">3.00</td></tr>'
        '<tr><th scope="row" class="nw">&lt;b&gt;</th><td class="num">–</td></tr>'
    )


def test_it_writes_the_exact_amount_on_hover_in_plain_digits():
    assert written("{{ m|money:'EUR' }}", m=Decimal("0.000000500000")) == (
        '<span title="0.000000500000 EUR">€0.00</span>'
    )
    assert 'title="0.000000000000 EUR"' in written("{{ m|money:'EUR' }}", m=Decimal("0E-12"))
    assert written("{{ q|exact }} {{ none|exact }}", q=Decimal("0.500000"), none=None) == "0.5 –"


def test_it_marks_the_chosen_option():
    shown = written("{% options names chosen %}", names=["acme", "a&b"], chosen="a&b")
    assert shown == "<option>acme</option><option selected>a&amp;b</option>"


def test_it_draws_a_bar_of_parts_no_wider_than_the_whole():
    shown = written('{% bar "used" 5 "free" 30 total=8 label=label css="x" %}', label='"5"')
    assert '<rect class="f-used" x="0.00" width="62.50" height="10"/>' in shown
    assert '<rect class="f-free" x="62.50" width="100.00" height="10"/>' in shown
    assert 'class="bar x"' in shown
    assert 'aria-label="&quot;5&quot;"' in shown


def test_it_writes_the_hour_of_a_row_in_utc():
    there = AT.astimezone(timezone(timedelta(hours=5)))
    assert written("{{ at|hour }}", at=there) == "3 Nov 14:05"


def test_it_writes_moments_with_the_whole_of_them_on_hover():
    full = '<time datetime="2026-11-03T14:05:00+00:00" title="2026-11-03 14:05:00 UTC">'
    assert written('{% when at "full" %}', at=AT) == f"{full}2026-11-03 14:05:00 UTC</time>"
    assert written('{% when at "day" %}', at=AT) == f"{full}03 Nov 2026</time>"
    assert written("{% when at %}", at=None) == "–"
    assert written("{% ago at %}", at=None) == "never"
    counted = written('{% ago at "bare" %}', at=AT)
    assert 'data-ago="bare" title="2026-11-03 14:05:00 UTC">' in counted
    assert " ago</time>" not in counted
