"""Numbers and symptoms as the operator reads them."""

from fleet.rules.degradation.facts import Facts
from fleet.rules.degradation.symptoms import Miss, Symptom


def count(number: float) -> str:
    return f"{round(number):,}"


def milliseconds(value: float) -> str:
    return f"{value / 1000:.2f} s" if value >= 1000 else f"{value:.0f} ms"


def percent(share: float) -> str:
    return f"{share * 100:.0f} %" if share >= 0.1 else f"{share * 100:.1f} %"


def opening(facts: Facts, miss: Miss) -> str:
    """The head of the sentence: who is hurt and how."""
    whose = f"{facts.tenant}'s {facts.traffic_class} requests"
    heads = {
        Symptom.ERRORS: f"{facts.service} fails {whose}",
        Symptom.SHED: f"{facts.service} sheds {whose}",
        Symptom.REJECTED: f"{whose} to {facts.service} are rejected",
        Symptom.TTFT: f"First tokens of {whose} to {facts.service} are late",
        Symptom.ITL: f"Tokens of {whose} to {facts.service} come slowly",
        Symptom.CANCELLED: f"Clients leave {whose} to {facts.service}",
    }
    return heads[miss.symptom]


def extent(miss: Miss) -> str:
    """The tail of the sentence: how much of it."""
    if miss.measured is not None and miss.limit is not None:
        name = "TTFT" if miss.symptom is Symptom.TTFT else "inter-token latency"
        return (
            f"{name} p95 {milliseconds(miss.measured)} against {milliseconds(miss.limit)},"
            f" {count(miss.affected)} of {count(miss.requests)} over it"
        )
    return f"{count(miss.affected)} of {count(miss.requests)} requests ({percent(miss.share)})"
