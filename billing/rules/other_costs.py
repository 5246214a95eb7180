"""What the fleet costs besides GPUs: the shared platform, and bills of hosted providers.

Rule `other-2`: a line is spread evenly over its time, and counts for the hours whose GPU cost is
known, as revenue does. A hosted provider's line is borne by the tokens that this provider answered,
of the line's service where it names one. Of any other line with a service each bears its part of
that service's tokens; of the rest, its part of what GPUs were used for. So is a provider's line
where no usage says that this provider answered. Nobody's is unallocated.
"""

import csv
import hashlib
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import repeat
from typing import Generic, TypeVar

from billing.rules.allocation import PICO, split
from billing.rules.texts import is_plain
from billing.rules.years import SAID, is_known
from tenants.rules.currencies import EXPONENTS

OTHER_METHOD = "other-2"
PLATFORM, HOSTED = "platform", "hosted"
KINDS = (PLATFORM, HOSTED)
COLUMNS = ("starts_at", "ends_at", "kind", "name", "model", "currency", "amount")
# As FOCUS calls them, in the versions since 1.0. `x_ModelName` is ours, and may be missing.
FOCUS = ("ChargePeriodStart", "ChargePeriodEnd", "ServiceName", "BillingCurrency", "EffectiveCost")
# Whose and of what a line is, where a file says it: else two bills that are alike would be one.
ORIGIN = ("BillingAccountId", "SubAccountId", "ResourceId", "SkuId")
PROVIDERS = ("ServiceProviderName", "ProviderName")  # 1.3 and later; before
MOST_ROWS, MOST_FAULTS = 20_000, 20
LARGEST_FILE = 8 << 20  # bytes, or characters
LARGEST = Decimal(10) ** 15
HOUR, MICROSECOND = timedelta(hours=1), timedelta(microseconds=1)
Span = tuple[datetime, datetime]
K = TypeVar("K", int, str, tuple[str, str])  # a tenant, a service, or a service's release
Scope = tuple[str, str]  # a provider or empty, a service or empty


@dataclass(frozen=True, slots=True)
class Line:
    starts_at: datetime
    ends_at: datetime
    kind: str
    name: str
    model: str
    currency: str
    amount: Decimal  # below 0: given back

    @property
    def provider(self) -> str:
        """Of a hosted one: what its name says before a colon."""
        return self.name.partition(":")[0].strip() if self.kind == HOSTED else ""

    @property
    def scopes(self) -> list[Scope]:
        """Whose tokens bear it, the most exact first."""
        wanted = [(self.provider, self.model)] if self.provider else []
        return [*wanted, ("", self.model)] if self.model else wanted

    def part(self, spans: Iterable[Span]) -> Decimal:
        """What falls into these spans. Parts of spans that follow each other add up exactly."""
        return sum((self._until(end) - self._until(start) for start, end in spans), Decimal(0))

    def inside(self, spans: Iterable[Span]) -> list[Span]:
        """The spans, cut to the time of the line."""
        cut = ((max(start, self.starts_at), min(end, self.ends_at)) for start, end in spans)
        return [(start, end) for start, end in cut if start < end]

    def _until(self, at: datetime) -> Decimal:
        passed = min(max(at, self.starts_at), self.ends_at) - self.starts_at
        share = Fraction(passed // MICROSECOND, (self.ends_at - self.starts_at) // MICROSECOND)
        return Decimal(round(Fraction(self.amount) * share * 10**12)).scaleb(-12)


@dataclass(frozen=True, slots=True)
class Parsed:
    rows: Sequence[Line]
    faults: Sequence[str]  # sentences with the number of their line
    origins: Sequence[str] = ()  # of each row, empty where the file tells none


def read_file(text: str) -> Parsed:
    """Lines of a CSV file, ours or FOCUS. One that cannot be taken refuses all of it."""
    reader = csv.DictReader(io.StringIO(text.lstrip("\ufeff"), newline=""), strict=True)
    try:
        names = tuple(reader.fieldnames or ())
        missing = [name for name in FOCUS if name not in names]
        if names != COLUMNS and missing:
            wanted = f"{','.join(COLUMNS)}, or a FOCUS file"
            lacks = f": {', '.join(missing)} is missing" if len(missing) < len(FOCUS) else ""
            return Parsed((), [f"Line 1 must be {wanted}{lacks}"])
        found = list(_lines(reader, is_focus=not missing))
    except csv.Error as error:
        return Parsed((), [f"What comes after line {reader.line_num} is no CSV: {error}"])
    if not found:
        return Parsed((), ["The file has no line"])
    if len(found) > MOST_ROWS:
        return Parsed((), [f"The file has {len(found):,} lines; at most {MOST_ROWS:,} at a time"])
    faults = [told for row, told in found if row is None]
    if len(faults) > MOST_FAULTS:
        faults = [*faults[:MOST_FAULTS], f"{len(faults) - MOST_FAULTS} more lines are wrong"]
    good = [(row, origin) for row, origin in found if row is not None]
    return Parsed([row for row, _ in good], faults, [origin for _, origin in good])


def _lines(reader: "csv.DictReader[str]", *, is_focus: bool) -> Iterator[tuple[Line | None, str]]:
    """Each with its origin, or none with what is wrong."""
    for cells in reader:
        number = reader.line_num
        if None in cells or None in cells.values():
            yield None, f"Line {number} has not as many cells as line 1"
            continue
        try:
            row = _of_focus(cells) if is_focus else _of_ours(cells)
        except (ValueError, ArithmeticError):  # a time before the first year, no amount
            yield None, f"Line {number} has a time or an amount that is none"
            continue
        faults = faults_of(row)
        yield (None, f"Line {number}: " + "; ".join(faults)) if faults else (row, _origin(cells))


def _origin(cells: Mapping[str, str]) -> str:
    told = [cells.get(name, "").strip() for name in ORIGIN]
    return "\x1f".join(told) if any(told) else ""


def _of_ours(cells: Mapping[str, str]) -> Line:
    given = {name: cells[name].strip() for name in COLUMNS}
    return Line(
        _moment(given["starts_at"]),
        _moment(given["ends_at"]),
        given["kind"],
        given["name"],
        given["model"],
        given["currency"],
        Decimal(given["amount"]),
    )


def _of_focus(cells: Mapping[str, str]) -> Line:
    """What a hosted provider's bill comes to after its own commitments: the effective cost."""
    provider = next((cells[name].strip() for name in PROVIDERS if cells.get(name)), "")
    service = cells["ServiceName"].strip()
    return Line(
        _moment(cells["ChargePeriodStart"]),
        _moment(cells["ChargePeriodEnd"]),
        HOSTED,
        f"{provider}: {service}" if provider else service,
        cells.get("x_ModelName", "").strip(),
        cells["BillingCurrency"].strip(),
        Decimal(cells["EffectiveCost"].strip()),
    )


def _moment(text: str) -> datetime:
    """UTC, unless it says another offset."""
    at = datetime.fromisoformat(text.strip())
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def faults_of(row: Line) -> list[str]:
    amount = row.amount
    fits = amount.is_finite() and amount.copy_abs() < LARGEST and amount == amount.quantize(PICO)
    return [
        sentence
        for is_wrong, sentence in (
            (not is_known(row.starts_at) or not is_known(row.ends_at), SAID),
            (row.ends_at <= row.starts_at, "it ends before it begins"),
            (row.kind not in KINDS, f"its kind is none of {', '.join(KINDS)}"),
            (not 0 < len(row.name) <= 200, "give it a name of at most 200 characters"),
            (len(row.model) > 128, "the name of its service has at most 128 characters"),
            (not is_plain(row.name + row.model), "a name is one line without control characters"),
            (row.currency not in EXPONENTS, f"{row.currency[:20]!r} is no currency of ISO 4217"),
            (not fits, "an amount has at most 12 decimals, as in 1204.50"),
        )
        if is_wrong
    ]


def keys_of(rows: Sequence[Line], origins: Iterable[str] = repeat("")) -> list[str]:
    """By which a line is known again: its cells, its origin where that is told, and which of
    several alike in its file it is."""
    seen: Counter[str] = Counter()
    keys = []
    for row, origin in zip(rows, origins, strict=False):
        moments = row.starts_at.isoformat(), row.ends_at.isoformat()
        amount = f"{row.amount.quantize(PICO):f}"
        cells = (*moments, row.kind, row.name, row.model, row.currency, amount)
        text = "\x1f".join((*cells, origin) if origin else cells)
        seen[text] += 1
        keys.append(hashlib.sha256(f"{text}\x1f{seen[text]}".encode()).hexdigest())
    return keys


@dataclass(frozen=True, slots=True)
class Spread(Generic[K]):
    parts: Mapping[K, Decimal]
    unallocated: Decimal


def spread(
    lines: Iterable[tuple[Line, Decimal]],
    direct: Mapping[K, Decimal],
    tokens: Mapping[Scope, Mapping[K, int]],
) -> Spread[K]:
    """Parts of lines by tenant, service or release, all of which add up to the same.

    `direct` is what GPUs were used for.
    """
    found: dict[K, Decimal] = {}
    unallocated = Decimal(0)
    for line, part in lines:
        weights, _ = borne_by(line, direct, tokens)
        bearers = sorted(weights)
        if not bearers:
            unallocated += part
            continue
        whole = [int(weights[key].scaleb(12)) for key in bearers]
        for key, share in zip(bearers, _split(part, whole), strict=True):
            found[key] = found.get(key, Decimal(0)) + share
    return Spread(found, unallocated)


def borne_by(
    line: Line, direct: Mapping[K, Decimal], tokens: Mapping[Scope, Mapping[K, int]]
) -> tuple[Mapping[K, Decimal], bool]:
    """Weights of the first of the line's scopes that anybody had, and whether they are tokens;
    none: nobody bears it."""
    for scope in line.scopes:
        own = tokens.get(scope, {})
        if any(own.values()):
            return {key: Decimal(count) for key, count in own.items()}, True
    if not line.model and any(direct.values()):
        return direct, False
    return {}, bool(line.model)


def tokens_by(
    services: Iterable[tuple[str, K, int]], providers: Iterable[tuple[str, str, K, int]]
) -> dict[Scope, dict[K, int]]:
    """Sums by scope. `services`: service, who, tokens, whoever answered; `providers`: service,
    provider, who, tokens."""
    found: dict[Scope, dict[K, int]] = {}

    def add(scope: Scope, key: K, tokens: int) -> None:
        own = found.setdefault(scope, {})
        own[key] = own.get(key, 0) + tokens

    for model, key, tokens in services:
        add(("", model), key, tokens)
    for model, provider, key, tokens in providers:
        add((provider, model), key, tokens)
        add((provider, ""), key, tokens)
    return found


def _split(part: Decimal, weights: Sequence[int]) -> list[Decimal]:
    """What was given back is split like what was paid."""
    sign = 1 if part >= 0 else -1
    return [sign * share for share in split(abs(part), weights)]


def spans_of(hours: Sequence[datetime]) -> list[Span]:
    """Hours that follow each other as one span; in order."""
    found: list[Span] = []
    for hour in hours:
        if found and found[-1][1] == hour:
            found[-1] = (found[-1][0], hour + HOUR)
        else:
            found.append((hour, hour + HOUR))
    return found
