"""Alerts of budgets: which thresholds were reached, and what is told of them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from billing.rules.webhooks import Kind
from tenants.rules.quotas import BudgetKind

THRESHOLDS = (50, 80, 100)  # percent of the budget, where nobody chose others
MOST_THRESHOLDS, LARGEST_THRESHOLD = 10, 1_000
MOST_MAILS = 20
ADDRESS = re.compile(r"[^@\s,;<>]+@[^@\s,;<>]+\.[^@\s,;<>]+")
COMMITMENT = "commitment"  # the kind of an alert that is about the minimum of a contract
WORDS = {
    BudgetKind.INPUT_TOKENS: "input tokens",
    BudgetKind.OUTPUT_TOKENS: "output tokens",
    BudgetKind.TOKENS: "tokens",
}


@dataclass(frozen=True, slots=True)
class Reached:
    """A budget whose spending reached a threshold in a period."""

    tenant_id: int
    series: int
    kind: BudgetKind
    period: str
    threshold: int
    budget: Decimal  # money, or whole tokens
    spent: Decimal


def thresholds_reached(budget: Decimal, spent: Decimal, thresholds: Sequence[int]) -> list[int]:
    """A budget of 0 suspends on purpose: nothing to be told."""
    if budget <= 0:
        return []
    return [t for t in sorted(thresholds) if spent * 100 >= budget * t]


def faults_of_settings(thresholds: Sequence[int], mails: Sequence[str]) -> dict[str, str]:
    found = {}
    if len(set(thresholds)) < len(thresholds) or len(thresholds) > MOST_THRESHOLDS:
        found["thresholds"] = f"At most {MOST_THRESHOLDS} thresholds, each once"
    elif any(not 1 <= t <= LARGEST_THRESHOLD for t in thresholds):
        found["thresholds"] = f"Whole percents between 1 and {LARGEST_THRESHOLD}"
    wrong = [m for m in mails if len(m) > 254 or not ADDRESS.fullmatch(m)]
    if wrong:
        found["mails"] = f"{wrong[0][:60]!r} is no mail address"
    elif len(mails) > MOST_MAILS or len(set(mails)) < len(mails):
        found["mails"] = f"At most {MOST_MAILS} addresses, each once"
    return found


def facts(reached: Reached, names: Mapping[str, Any]) -> dict[str, Any]:
    """What is told of it. Amounts are text: they are exact."""
    return {
        **names,
        "kind": reached.kind.value,
        "period": reached.period,
        "threshold_percent": reached.threshold,
        "budget": f"{reached.budget:f}",
        "spent": f"{reached.spent:f}",
    }


def mail_of(document: Mapping[str, Any], address: str) -> tuple[str, str]:
    """Subject and text."""
    if document["type"] == Kind.COMMITMENT_ENDS:
        return _mail_of_end(document["data"], address)
    data = document["data"]
    whose = ", ".join(filter(None, (data["tenant"], data["application"], data["model"])))
    kind = BudgetKind(data.get("kind", BudgetKind.MONEY))  # older ones are of money
    counted = f"budget of {WORDS[kind]}" if kind in WORDS else "budget"
    unit = WORDS.get(kind, data["currency"])
    subject = f"{data['threshold_percent']} % of the {counted} of {whose} is spent"
    text = (
        f"{data['spent']} of {data['budget']} {unit} were spent in {data['period']}"
        f" ({whose}).\nAt 100 % the gateway refuses requests.\n\n{address}\n"
    )
    return subject, text


def _mail_of_end(data: Mapping[str, Any], address: str) -> tuple[str, str]:
    subject = f"The minimum of {data['tenant']} ends within {data['days_before_end']} days"
    text = (
        f"The minimum in {data['contract']}, version {data['version']}, ends at {data['ends_at']}."
        f"\nIn {data['period']} {data['used']} of {data['minimum']} {data['currency']} are used,"
        f" {data['unused']} are not.\nFrom then on the list holds, unless a new version follows."
        f"\n\n{address}\n"
    )
    return subject, text
