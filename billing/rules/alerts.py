"""Alerts of budgets: which thresholds were reached, and what is told of them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

THRESHOLDS = (50, 80, 100)  # percent of the budget, where nobody chose others
MOST_THRESHOLDS, LARGEST_THRESHOLD = 10, 1_000
MOST_MAILS = 20
ADDRESS = re.compile(r"[^@\s,;<>]+@[^@\s,;<>]+\.[^@\s,;<>]+")


@dataclass(frozen=True, slots=True)
class Reached:
    """A budget whose spending reached a threshold in a period."""

    tenant_id: int
    series: int
    period: str
    threshold: int
    budget: Decimal
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
        "period": reached.period,
        "threshold_percent": reached.threshold,
        "budget": f"{reached.budget:f}",
        "spent": f"{reached.spent:f}",
    }


def mail_of(document: Mapping[str, Any], address: str) -> tuple[str, str]:
    """Subject and text."""
    data = document["data"]
    whose = ", ".join(filter(None, (data["tenant"], data["application"], data["model"])))
    subject = f"{data['threshold_percent']} % of the budget of {whose} is spent"
    text = (
        f"{data['spent']} of {data['budget']} {data['currency']} were spent in {data['period']}"
        f" ({whose}).\nAt 100 % the gateway refuses requests.\n\n{address}\n"
    )
    return subject, text
