"""How far factors may raise prices: a product that no table holds would stop everybody's rating.

A unit costs at most `LARGEST` with the factors of its own version. Those of a contract raise the
list too, which may be at that bound: together they come to `MOST_OF_CONTRACT` at most, so that a
unit price stays below 10^12, the end of what is stored.
"""

from collections.abc import Mapping, Sequence
from decimal import Context, Decimal
from itertools import product

from billing.rules.prices.lines import LARGEST, PriceLine
from billing.rules.prices.terms import BY_MONTH, Kind

Name = tuple[str, str, str]  # service, meter, class; empty: any
ONE = Decimal(1)
MOST_OF_CONTRACT = Decimal(100)
ROUGH = Context(prec=28)
UNRAISED = {Kind.FACTOR, Kind.PACKAGE, *BY_MONTH}


def faults_of_factors(lines: Sequence[PriceLine], *, contract: bool) -> dict[str, str]:
    """Sentences by place in the list, of lines that are right by themselves."""
    factors = {name_of(line): highest(line) for line in lines if line.terms.kind == Kind.FACTOR}
    if not factors:
        return {}
    faults = {}
    for index, line in enumerate(lines):
        most = most_on(line, factors)
        if line.terms.kind not in UNRAISED and ROUGH.multiply(dearest(line), most) > LARGEST:
            faults[f"prices/{index}"] = (
                f"With its factors, {most.normalize():,f} together, a unit costs more than"
                f" {LARGEST:,}"
            )
    if contract and (most := most_together(factors)) > MOST_OF_CONTRACT:
        faults["prices"] = (
            f"Factors of a contract raise a price by {MOST_OF_CONTRACT} at most; these come to"
            f" {most.normalize():,f}"
        )
    return faults


def most_on(line: PriceLine, factors: Mapping[Name, Decimal]) -> Decimal:
    """The most by which factors raise a price; one of every class, in the class that they raise
    most."""
    classes = {line.traffic_class} if line.traffic_class else {name[2] for name in factors}
    return max(raised((line.model, line.meter, of_class), factors) for of_class in classes)


def raised(request: Name, factors: Mapping[Name, Decimal]) -> Decimal:
    """Every factor that fits multiplies."""
    model, meter, of_class = request
    found = ONE
    for name in set(product((model, ""), (meter, ""), (of_class, ""))):
        found = ROUGH.multiply(found, factors.get(name, ONE))
    return found


def most_together(factors: Mapping[Name, Decimal]) -> Decimal:
    """Of all requests that they tell apart."""
    models, meters, classes = zip(*factors, strict=True)
    requests = product(set(models), set(meters), set(classes))
    return max(raised(request, factors) for request in requests)


def name_of(line: PriceLine) -> Name:
    return line.model, line.meter, line.traffic_class


def highest(factor: PriceLine) -> Decimal:
    """At least 1, which it is outside of its hours."""
    return max(ONE, *(window.factor for window in factor.terms.windows))


def dearest(line: PriceLine) -> Decimal:
    """Of one unit."""
    return max(line.terms.unit_price, *(tier.unit_price for tier in line.terms.tiers), Decimal(0))
