"""Chargeback: a month of an account by its cost centres, with taxes and rounding apart."""

from decimal import Decimal

from billing.rules.focus import Extra, Line, money, plain

COLUMNS = (
    *("month", "account", "cost_centre", "application", "kind", "currency", "amount", "demo"),
)
Key = tuple[str, ...]


def key_of(item: Line | Extra) -> Key:
    demo = "true" if item.demo else "false"
    if isinstance(item, Extra):
        return (item.period, item.tenant, "", "", item.kind.value, item.billed_in, demo)
    kind = "correction" if item.corrects else "charge"
    centre = plain(item.cost_centre)
    return (item.period, item.tenant, centre, item.application, kind, item.billed_in, demo)


def chargeback_row(key: Key, amount: Decimal) -> list[str]:
    return [*key[:-1], money(amount), key[-1]]
