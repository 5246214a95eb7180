"""Every name is on the invoice that is sent to it, in the letters that a font has."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reportlab.platypus import Paragraph

from billing.clients.letters import lettered, shown
from billing.clients.pdf import TEXT, render_pdf


def note(name):
    return {
        "kind": "credit_note", "number": "CN-000001", "issuer": "Flotte & Söhne",
        "issued_at": "2026-11-20T12:30:00Z", "invoice": "INV-000001", "why": f"<b>{name}</b>",
        "account": {"name": name, "id": "tenant-acme"}, "currency": "USD",
        "period": {"name": "2026-10", "starts_at": "a", "ends_at": "b", "time_zone": "UTC"},
        "lines": [{"kind": "credit", "position": 1, "name": name, "quantity": "",
                   "unit_price": "", "amount": "1.00"}],
        "net": "1.00", "tax": "0.00", "total": "1.00",
    }  # fmt: skip


@pytest.mark.parametrize(
    "name",
    [
        "Société Łódź",
        "Ελληνική Εταιρεία",
        "Българска фирма ЕООД",
        "Čeští přátelé ģ",
        "Ձայն",
        "ქართული",
    ],
)
def test_letters_of_europe_are_embedded(name):
    assert lettered(name) == name


def test_what_no_font_has_loses_its_accent_or_is_a_question_mark():
    assert lettered("שלום") == "????"  # from right to left: not in the order in which it is read
    assert lettered("株x𠮷") == "?x?"
    assert shown("𝐀<ḟ") == "A&lt;ḟ"


def test_accents_that_come_apart_are_joined():
    assert shown(unicodedata.normalize("NFD", "Société")) == "Société"


def test_lines_of_a_text_become_one():
    assert shown("two\r\nlines, a\ttab") == "two lines, a tab"


@pytest.mark.parametrize("name", ["Ελληνική", "株式会社" * 40, "<&>" * 60, ""])
def test_the_same_record_is_the_same_bytes(name):
    assert render_pdf(note(name), "f" * 64) == render_pdf(note(name), "f" * 64)


@given(st.text(max_size=60))
def test_any_text_is_printed(text):
    """As text: nothing in a name is read as markup."""
    assert Paragraph(f"x{shown(text)}", TEXT).getPlainText().startswith("x")
    assert Paragraph(shown(text), TEXT).wrap(200, 800)
