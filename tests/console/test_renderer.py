"""What the console's renderer of forms writes is what Django's own templates write."""

import pytest
from django import forms
from django.forms.renderers import DjangoTemplates
from django.test.html import parse_html

from console.forms.renderer import Renderer

ODD = '"><b>&amp;'
CHOICES = [("", "None"), (1, "acme"), (ODD, ODD), ("Group", [("2", "globex"), ("3", "initech")])]
ATTRIBUTES = {"id": "id_x", "required": True, "disabled": False, "data-x": ODD, "rows": 3}
WIDGETS = (
    forms.TextInput(), forms.NumberInput(), forms.URLInput(), forms.EmailInput(), forms.DateInput(),
    forms.DateTimeInput(), forms.TimeInput(), forms.HiddenInput(), forms.PasswordInput(),
    forms.CheckboxInput(), forms.Textarea(), forms.Select(choices=CHOICES),
    forms.SelectMultiple(choices=CHOICES), forms.CheckboxSelectMultiple(choices=CHOICES),
)  # fmt: skip


@pytest.mark.parametrize("value", [None, "", 0, 1, "2", ODD])
@pytest.mark.parametrize("widget", WIDGETS, ids=lambda w: type(w).__name__)
def test_it_writes_what_the_templates_write(widget, value):
    many = isinstance(widget, forms.SelectMultiple | forms.CheckboxSelectMultiple)
    given = [value] if many else value
    ours, theirs = (
        widget.render("x", given, ATTRIBUTES, renderer)
        for renderer in (Renderer(), DjangoTemplates())
    )
    assert parse_html(ours) == parse_html(theirs)
    assert ours.split() == theirs.split()
