"""An invoice or credit note as PDF, from its frozen snapshot. The same snapshot, the same bytes."""

from collections.abc import Mapping, Sequence
from io import BytesIO
from textwrap import fill
from typing import Any

from reportlab.lib import colors
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.platypus import Paragraph, SimpleDocTemplate, Spacer, Table, TableStyle

from billing.clients.letters import BOLD, PLAIN, lettered, shown

TEXT = ParagraphStyle("text", fontName=PLAIN, fontSize=8.5, leading=12)
SMALL = ParagraphStyle("small", parent=TEXT, fontSize=7, leading=9.5, textColor=colors.grey)
RIGHT = ParagraphStyle("right", parent=TEXT, alignment=2)
HEAD = ParagraphStyle("head", parent=TEXT, fontName=BOLD, fontSize=15, leading=20)
STRONG = ParagraphStyle("strong", parent=TEXT, fontName=BOLD)
STRONG_RIGHT = ParagraphStyle("strong right", parent=STRONG, alignment=2)
TITLES = {"invoice": "Invoice", "credit_note": "Credit note"}
WIDTHS = (9 * mm, 80 * mm, 29 * mm, 28 * mm, 28 * mm)
LETTERS = 46  # of a line's name in one row
LINES = TableStyle(
    [
        ("FONT", (0, 0), (-1, 0), BOLD, 8.5),
        ("FONT", (0, 1), (-1, -1), PLAIN, 8.5),
        ("ALIGN", (2, 0), (-1, -1), "RIGHT"),
        ("LINEBELOW", (0, 0), (-1, 0), 0.6, colors.black),
        ("LINEBELOW", (0, 1), (-1, -1), 0.2, colors.lightgrey),
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
        ("TOPPADDING", (0, 0), (-1, -1), 2),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 2),
    ]
)


def render_pdf(document: Mapping[str, Any], sha256: str) -> bytes:
    """`sha256` is of the snapshot, printed so that paper and record can be compared."""
    out = BytesIO()
    title = f"{TITLES[document['kind']]} {document['number']}"
    page = SimpleDocTemplate(
        out,
        pagesize=A4,
        title=title,
        author=document["issuer"],
        invariant=1,
        leftMargin=18 * mm,
        rightMargin=18 * mm,
        topMargin=18 * mm,
        bottomMargin=18 * mm,
    )
    parts = [
        Paragraph(shown(document["issuer"]), STRONG),
        Spacer(1, 6 * mm),
        Paragraph(shown(title), HEAD),
        Spacer(1, 3 * mm),
        _facts(document),
        Spacer(1, 6 * mm),
        _lines(document),
        Spacer(1, 4 * mm),
        _sums(document),
        Spacer(1, 8 * mm),
        Paragraph(f"SHA-256 of the frozen record: {sha256}", SMALL),
    ]
    page.build(parts)
    return out.getvalue()


def _facts(document: Mapping[str, Any]) -> Table:
    period = document["period"]
    facts = [
        ("To", document["account"]["name"]),
        ("Account", document["account"]["id"]),
        ("Issued", document["issued_at"]),
        ("Due", document.get("due_on", "")),
        ("Purchase order", document.get("purchase_order", "")),
        ("Exchange rate", _exchange(document.get("exchange"))),
        ("Of invoice", document.get("invoice", "")),
        ("Why", document.get("why", "")),
        (
            "Period",
            f"{period['name']} ({period['starts_at']} to {period['ends_at']}, "
            f"{period['time_zone']})",
        ),
    ]
    rows = [
        [Paragraph(shown(name), STRONG), Paragraph(shown(value), TEXT)]
        for name, value in facts
        if value
    ]
    return Table(rows, colWidths=(32 * mm, 142 * mm), hAlign="LEFT")


def _exchange(taken: Mapping[str, str] | None) -> str:
    if taken is None:
        return ""
    return "1 {base} = {rate} {quote} of {date}, by {source}".format(**taken)


def _lines(document: Mapping[str, Any]) -> Table:
    price = "Unit price"
    if document.get("exchange"):
        price += f", {document['priced_in']}"
    titles = ("", "What", "Quantity", price, f"Amount, {document['currency']}")
    # Plain cells: text that wraps costs a hundred times more, and a month has many lines.
    rows: list[Sequence[str]] = [titles]
    for line in document["lines"]:
        if line["kind"] in ("rounding", "tax"):
            continue
        rows.append(
            (
                str(line["position"]),
                fill(lettered(line["name"]), LETTERS),
                line["quantity"],
                line["unit_price"],
                line["amount"],
            )
        )
    return Table(rows, colWidths=WIDTHS, style=LINES, repeatRows=1, hAlign="LEFT")


def _sums(document: Mapping[str, Any]) -> Table:
    currency = document["currency"]
    rows = [("Net", document["net"])]
    rows += [(line["name"], line["amount"]) for line in document["lines"] if line["kind"] == "tax"]
    if document["kind"] == "credit_note":
        rows.append(("Tax", document["tax"]))
    cells = [[Paragraph(shown(n), TEXT), Paragraph(f"{a} {currency}", RIGHT)] for n, a in rows]
    style = TableStyle([("LINEABOVE", (0, len(cells)), (-1, len(cells)), 0.6, colors.black)])
    total = Paragraph(f"{document['total']} {currency}", STRONG_RIGHT)
    cells.append([Paragraph("Total", STRONG), total])
    for paid in document.get("prepaid", ()):
        amount = Paragraph(f"-{paid['amount']} {currency}", RIGHT)
        cells.append([Paragraph(shown(paid["name"]), TEXT), amount])
    if document.get("prepaid"):
        to_pay = Paragraph(f"{document['to_pay']} {currency}", STRONG_RIGHT)
        cells.append([Paragraph("To pay", STRONG), to_pay])
    for back in document.get("given_back", ()):
        amount = Paragraph(f"{back['amount']} {currency}", RIGHT)
        cells.append([Paragraph(shown(f"Back to: {back['name']}"), TEXT), amount])
    return Table(cells, colWidths=(55 * mm, 40 * mm), hAlign="RIGHT", style=style)
