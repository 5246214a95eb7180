"""The select box for long lists says what Django's own says."""

import pytest
from django import forms
from django.test.html import parse_html

from console.forms.selects import LongSelect

CHOICES = [("", "The fleet"), ("1", "acme"), (2, "<b>globex</b>")]


@pytest.mark.parametrize("value", ["", "1", 2, None, "none of them"])
def test_it_renders_what_the_usual_select_box_renders(value):
    drawn = [
        widget(attrs={"class": "wide"}, choices=CHOICES).render(
            "tenant", value, {"id": "id_tenant", "required": True, "aria-invalid": "true"}
        )
        for widget in (LongSelect, forms.Select)
    ]
    assert parse_html(drawn[0]) == parse_html(drawn[1])
