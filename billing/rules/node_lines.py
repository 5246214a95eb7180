"""Lines of node prices as people write them, and what is wrong with them. Pure."""

from collections.abc import Mapping, Sequence
from decimal import Decimal

from billing.rules.node_prices import CAPACITIES, MAY, NEEDS, NodeLine, PayKind, rate_of
from billing.rules.prices.lines import LARGEST

WHOLE = {"months": 240, "gpus": 100_000}  # whole numbers, at most so large
LONGEST_PRODUCT, LONGEST_NAME = 120, 63
MOST_LINES = 1_000


def faults_of_lines(lines: Sequence[NodeLine]) -> list[str]:
    """One sentence for each line that cannot hold."""
    if not lines:
        return ["Give the price of at least one GPU product"]
    if len(lines) > MOST_LINES:
        return [f"{len(lines):,} lines are more than {MOST_LINES:,}"]
    found, seen = [], set()
    for number, line in enumerate(lines, 1):
        fault = fault_of_line(line)
        if not fault and line.scope in seen:
            fault = "another line is for the same nodes"
        seen.add(line.scope)
        if fault:
            found.append(f"Line {number}, {line.product[:60]}: {fault}")
    return found


def fault_of_line(line: NodeLine) -> str:
    """Empty: none."""
    if not line.product or len(line.product) > LONGEST_PRODUCT:
        return f"a product has 1 to {LONGEST_PRODUCT} characters"
    if max(len(line.cluster), len(line.node_pool)) > LONGEST_NAME:
        return f"names of clusters and pools have at most {LONGEST_NAME} characters"
    if line.capacity and line.capacity not in CAPACITIES:
        return f"capacity is one of {', '.join(CAPACITIES)}"
    return fault_of_terms(line)


def fault_of_terms(line: NodeLine) -> str:
    needs, may = NEEDS[line.kind], MAY[line.kind]
    if missing := [name for name in needs if name not in line.terms]:
        return f"{line.kind.value} needs {', '.join(missing)}"
    if others := [name for name in line.terms if name not in needs + may]:
        return f"{line.kind.value} has no {', '.join(others)}; it has {', '.join(needs + may)}"
    numbers = [fault_of_number(name, value) for name, value in line.terms.items()]
    return next(filter(None, numbers), "") or _fault_of_sense(line)


def fault_of_number(name: str, value: Decimal) -> str:
    if not value.is_finite() or not 0 <= value <= LARGEST:
        return f"{name} is not between 0 and {LARGEST:,}"
    if -int(value.as_tuple().exponent) > 12:
        return f"{name} has more than 12 decimals"
    if name in WHOLE and (value != int(value) or value > WHOLE[name]):
        return f"{name} is a whole number of at most {WHOLE[name]:,}"
    return ""


def _fault_of_sense(line: NodeLine) -> str:
    if line.term("months") < 1 and "months" in NEEDS[line.kind]:
        return "months is at least 1"
    if line.term("residual") > line.term("purchase"):
        return "residual is more than purchase"
    if line.term("pue") < 1:
        return "pue is at least 1: all power for the machines' own"
    if rate_of(line).hourly > LARGEST:
        return f"an hour costs more than {LARGEST:,}"
    return ""


def lines_of_hourly(hourly: Mapping[str, Decimal]) -> list[NodeLine]:
    """A flat price of each product, wherever its nodes are."""
    return [
        NodeLine(product, PayKind.ON_DEMAND, {"hourly": price})
        for product, price in sorted(hourly.items())
    ]


def read_lines(text: str) -> list[NodeLine]:
    """One line each, as `NodeLine.text` writes them. ValueError says what cannot be read."""
    rows = [(n, row.strip()) for n, row in enumerate(text.splitlines(), 1)]
    return [_read(number, row) for number, row in rows if row]


def _read(number: int, row: str) -> NodeLine:
    product, *rest = (cell.strip() for cell in row.split(","))
    if not rest or rest[0] not in set(PayKind):
        raise ValueError(f"Line {number}: after the product comes one of {', '.join(PayKind)}")
    scope = {"cluster": "", "pool": "", "capacity": ""}
    terms: dict[str, Decimal] = {}
    for cell in rest[1:]:
        name, equals, value = (part.strip() for part in cell.partition("="))
        if not equals or name in terms or scope.get(name):
            raise ValueError(f"Line {number}: {cell!r} is not NAME=VALUE, once each")
        if name in scope:
            scope[name] = value
        else:
            terms[name] = _number(number, name, value)
    return NodeLine(
        product, PayKind(rest[0]), terms, scope["cluster"], scope["pool"], scope["capacity"]
    )


def _number(number: int, name: str, value: str) -> Decimal:
    try:
        return Decimal(value)
    except ArithmeticError as error:
        raise ValueError(f"Line {number}: {name} is no number: {value!r}") from error
