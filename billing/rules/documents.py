"""What stands in the frozen record of an invoice or a credit note. Amounts are text: exact."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Protocol

from billing.rules.exchange import Exchange
from billing.rules.invoices import Bill, LineKind, Row, Terms
from billing.rules.meters import SALES, Meter
from tenants.rules.currencies import EXPONENTS

PREFIXES = {"invoice": "INV", "credit": "CN"}
TIMES = ("starts_at", "ends_at")
NO_TEXT = ""


class PeriodFacts(Protocol):
    name: Any
    time_zone: Any
    starts_at: Any
    ends_at: Any


def number_of(kind: str, sequence: int, place: int = 1) -> str:
    """Of the first, second and so on issuer: no two documents have the same number."""
    return f"{PREFIXES[kind]}{place if place > 1 else ''}-{sequence:06}"


def amount_text(amount: Decimal, currency: str) -> str:
    return f"{amount.quantize(Decimal(1).scaleb(-EXPONENTS[currency])):f}"


def exact_text(value: Decimal | None) -> str:
    return NO_TEXT if value is None else f"{value.normalize() + 0:f}"


def stamp(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def invoice_lines(
    bill: Bill, currency: str, starts_at: datetime, ends_at: datetime
) -> list[dict[str, Any]]:
    """The rows as the columns of a line; taxes and rounding are of the whole period."""
    return [_line(row, currency, starts_at, ends_at) for row in bill.rows]


def _line(row: Row, currency: str, starts_at: datetime, ends_at: datetime) -> dict[str, Any]:
    line: dict[str, Any] = {
        "position": row.position,
        "kind": row.kind.value,
        "name": row.name,
        "exact": row.exact,
        "amount": row.amount,
        "tax": row.tax,
        "rate": row.rate if row.kind == LineKind.TAX else None,
        "starts_at": starts_at,
        "ends_at": ends_at,
    }
    if row.kind == LineKind.TAX:
        line["name"] = f"{row.name} {exact_text(row.rate * 100)} %"
    if row.charged is None:
        return line
    charged = row.charged
    return line | {
        "name": name_of(charged.model, charged.meter, charged.period, charged.runs_on),
        "model": charged.model,
        "meter": charged.meter,
        "runs_on": charged.runs_on,
        "corrects": charged.period,
        "quantity": charged.quantity,
        "unit_price": charged.unit_price,
        "charges": charged.charges,
        "charges_sha256": charged.sha256,
        "starts_at": charged.starts_at,
        "ends_at": charged.ends_at,
    }


def name_of(model: str, meter: str, period: str, runs_on: str = "") -> str:
    label = SALES[Meter(meter)].label + (f" on {runs_on}" if runs_on else "")
    correction = f"correction of {period}" if period else ""
    return ", ".join(part for part in (model, label, correction) if part)


def invoice_document(
    bill: Bill,
    lines: Sequence[Mapping[str, Any]],
    *,
    head: Mapping[str, Any],
    due_on: date,
    charges: tuple[int, int],
    exchange: Exchange,
) -> dict[str, Any]:
    account = head["account"]
    terms: Terms = account.terms(head["currency"])
    return _head("invoice", head) | {
        "due_on": due_on.isoformat(),
        "terms_days": account.terms_days,
        "purchase_order": account.purchase_order,
        "rounding": terms.rounding,
        "tax_per": terms.tax_per,
        "taxes": [{"name": t.name, "rate": exact_text(t.rate)} for t in terms.taxes],
        "priced_in": exchange.base,
        "exchange": exchange_fields(exchange),
        "lines": [_plain(line, head["currency"]) for line in lines],
        "exact": exact_text(bill.exact),
        "rounding_difference": exact_text(bill.rounding),
        "charges": {"after": charges[0], "upto": charges[1]},
        "prepaid": prepaid_rows(bill, head["currency"]),
        "to_pay": amount_text(bill.total - bill.prepaid, head["currency"]),
        **_sums(bill.net, bill.tax, head["currency"]),
    }


def exchange_fields(exchange: Exchange) -> dict[str, str] | None:
    if not exchange.converts:
        return None
    assert exchange.on is not None
    return {
        "base": exchange.base,
        "quote": exchange.quote,
        "rate": exact_text(exchange.rate),
        "date": exchange.on.isoformat(),
        "source": exchange.source,
    }


def prepaid_rows(bill: Bill, currency: str) -> list[dict[str, Any]]:
    """What prepaid credits paid of the total, in the order of use."""
    sums: dict[int, Decimal] = {}
    names = {d.grant.id: d.grant.name for d in bill.draws}
    for draw in bill.draws:
        if draw.grant.paid:
            sums[draw.grant.id] = sums.get(draw.grant.id, Decimal(0)) + draw.amount
    return [
        {"grant": pk, "name": names[pk], "amount": amount_text(amount, currency)}
        for pk, amount in sums.items()
    ]


def credit_document(
    lines: Sequence[Mapping[str, Any]],
    *,
    head: Mapping[str, Any],
    invoice: str,
    why: str,
    net: Decimal,
    tax: Decimal,
) -> dict[str, Any]:
    currency = head["currency"]
    return _head("credit_note", head) | {
        "invoice": invoice,
        "why": why,
        "lines": [
            {
                "position": line["position"],
                "kind": "credit",
                "line": line["line"],
                "name": line["name"],
                "quantity": NO_TEXT,
                "unit_price": NO_TEXT,
                "amount": amount_text(line["amount"], currency),
                "tax": amount_text(line["tax"], currency),
            }
            for line in lines
        ],
        "given_back": [
            {
                "grant": use.grant_id,
                "name": use.name,
                "prepaid": use.paid,
                "line": line["line"],
                "amount": amount_text(use.amount, currency),
            }
            for line in lines
            for use in line["undone"]
        ],
        **_sums(net, tax, currency),
    }


def _head(kind: str, head: Mapping[str, Any]) -> dict[str, Any]:
    period: PeriodFacts = head["period"]
    account = head["account"]
    return {
        "schema": f"quartermaster.{kind}.v1",
        "kind": kind,
        "number": head["number"],
        "issuer": head["issuer"],
        "issued_at": stamp(head["issued_at"]),
        "account": {
            "id": f"tenant-{account.tenant}",
            "tenant": account.tenant,
            "name": account.name,
        },
        "period": {
            "name": period.name,
            "time_zone": period.time_zone,
            "starts_at": stamp(period.starts_at),
            "ends_at": stamp(period.ends_at),
        },
        "currency": head["currency"],
    }


def _sums(net: Decimal, tax: Decimal, currency: str) -> dict[str, str]:
    return {
        "net": amount_text(net, currency),
        "tax": amount_text(tax, currency),
        "total": amount_text(net + tax, currency),
    }


def _plain(line: Mapping[str, Any], currency: str) -> dict[str, Any]:
    found = dict(line)
    for name in ("exact", "quantity", "unit_price", "rate"):
        found[name] = exact_text(line.get(name))
    for name in ("amount", "tax"):
        found[name] = amount_text(line[name], currency)
    for name in TIMES:
        found[name] = stamp(line[name])
    return found
