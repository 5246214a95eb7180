"""A second opinion: prices whole months from raw usage events, apart from the console.

    python price.py EVENTS.jsonl AGREED.json > months.json

EVENTS: one CloudEvent a line, as gateways send them, with `received_at`. AGREED: price books,
contracts, credits, taxes and when each month was closed. Of the product it knows docs/finance
alone; it imports the standard library, and reckons in fractions, which round nothing by themselves.
"""

import json
import sys
from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from zoneinfo import ZoneInfo

HOUR = timedelta(hours=1)
NEVER = datetime.max.replace(tzinfo=UTC)
PAID = {"served", "rerouted", "degraded", "cancelled"}
PER = {"prompt": 1_000_000, "cached": 1_000_000, "completion": 1_000_000, "request": 1_000}
TOKENS = ("prompt", "cached", "completion")
KEPT = ("kept_prefix", "")
DECIMALS = {"gpu_second": 9, "kept_prefix": 6}  # of a unit price
WEEK = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def at(text):
    return datetime.fromisoformat(text) if text else NEVER


def month_of(hour, zone):
    return f"{hour.astimezone(ZoneInfo(zone)):%Y-%m}"


def hours_of(month, zone):
    """Every hour that begins in the month, by the clock of the zone."""
    hour = datetime.fromisoformat(f"{month}-01T00:00+00:00") - 15 * HOUR
    found = []
    while month_of(hour, zone) <= month:
        if month_of(hour, zone) == month:
            found.append(hour)
        hour += HOUR
    return found


# --- what prices say ------------------------------------------------------------------------------


class Line:
    """One line of a price list."""

    def __init__(self, model, meter, text, traffic_class, place=""):
        self.name, self.place = (model, meter, traffic_class), place
        self.words = words = text.split()
        self.kind = words.pop(0) if words[0].isalpha() else "unit"
        per = PER.get(meter, 1)
        if self.kind in ("tiered", "volume"):
            pairs = [w.split(":") for w in words]
            self.tiers = [
                (None if limit == "rest" else int(limit), Fraction(price) / per)
                for limit, price in pairs
            ]
        elif self.kind == "package":
            size, price = words[0].split(":")
            self.size, self.unit = int(size), Fraction(price) / int(size)
        elif self.kind == "unit":
            self.tiers = [(None, Fraction(self.words[0]) / per)]
        elif self.kind != "factor":
            self.unit = Fraction(words[0])

    def fits(self, model, meter, traffic_class):
        asked = (model, meter, traffic_class)
        return all(mine in ("", other) for mine, other in zip(self.name, asked, strict=True))

    def factor(self, hour):
        """Of the first window that the hour begins in, by the zone's clock."""
        if len(self.words) == 1:
            return Fraction(self.words[0])
        here = hour.astimezone(ZoneInfo(self.words[0]))
        for window in self.words[1:]:
            days, _, rest = window.rpartition("@")
            span, _, factor = rest.partition(":")
            start, end = (int(h) for h in span.split("-"))
            day = here
            if start >= end and here.hour < end:
                day = here - timedelta(days=1)  # it began the day before
            inside = start <= here.hour < end if start < end else not end <= here.hour < start
            if inside and day.weekday() in days_of(days):
                return Fraction(factor)
        return Fraction(1)


def days_of(days):
    if not days:
        return range(7)
    first, _, last = days.partition("-")
    begin, end = WEEK.index(first), WEEK.index(last or first)
    return [n % 7 for n in range(begin, end + 1 if end >= begin else end + 8)]


class Version:
    def __init__(self, given):
        self.start, self.end = at(given["from"]), at(given["until"])
        self.published = at(given["published"])
        lines = [Line(*line) for line in given["prices"]]
        self.factors = [line for line in lines if line.kind == "factor"]
        self.monthly = [line for line in lines if line.kind in ("flat", "commitment")]
        rest = (line for line in lines if line not in self.factors + self.monthly)
        self.prices = {(*line.name, line.place): line for line in rest}

    def find(self, model, meter, traffic_class, place):
        rest = "" if meter == "gpu_second" else "hosted"
        for where in (place, rest) if place else ("",):
            for of_class in (traffic_class, ""):
                if line := self.prices.get((model, meter, of_class, where)):
                    return line
        return None


def holding(versions, hour):
    """The newest version that began; it took the place of all others for good."""
    begun = [v for v in versions if v.start <= hour]
    return begun[-1] if begun and hour < begun[-1].end else None


# --- one month of one tenant ----------------------------------------------------------------------


class Month:
    """What a tenant owes for a month, as far as it was known at a moment."""

    def __init__(self, tenant, month, events, books, known):
        self.tenant, self.month = tenant, month
        self.hours = hours_of(month, tenant["zone"])
        self.listed, self.contract = (
            [v for v in books.get((owner, tenant["currency"]), []) if v.published <= known]
            for owner in (None, tenant["id"])
        )
        self.rows = defaultdict(Fraction)  # (hour, application, model, class, meter, place, price)
        self.unpriced = defaultdict(Fraction)
        self._use([e for e in events if e["received"] <= known])
        self._fees(known)

    def _use(self, events):
        used = self._sum(events)
        counted = defaultdict(list)  # what counts together: plain prices do not count for tiers
        for key in sorted(k for k in used if used[k]):
            hour, _, model, traffic_class, meter, place = key
            line, is_agreed = self._line(hour, model, meter, traffic_class, place)
            if line:
                counted[is_agreed, line.name, line.place, line.kind == "unit"].append(
                    (key, used[key], line)
                )
            elif meter in (*TOKENS, KEPT[0]) or (
                meter == "gpu_second" and self._sells(hour, model)
            ):
                self.unpriced[key] += used[key]
        for (is_agreed, *_), uses in counted.items():
            self._count(uses, is_agreed)

    def _sells(self, hour, model):
        versions = filter(None, (holding(v, hour) for v in (self.contract, self.listed)))
        return any(n[:2] == (model, "gpu_second") for v in versions for n in v.prices)

    def _sum(self, events):
        used, inside = defaultdict(Fraction), set(self.hours)
        for event in events:
            if event["hour"] in inside and event["outcome"] in PAID:
                for (meter, place), quantity in event["used"].items():
                    used[*event["key"], meter, place] += quantity
        return used

    def _line(self, hour, model, meter, traffic_class, place):
        for versions, is_agreed in ((self.contract, True), (self.listed, False)):
            version = holding(versions, hour)
            line = version.find(model, meter, traffic_class, place) if version else None
            if line:
                return line, is_agreed
        return None, False

    def _count(self, uses, is_agreed):
        """One line's month, hour by hour: tiers, volume, packages."""
        total, before = sum(quantity for _, quantity, _ in uses), Fraction(0)
        for key, quantity, line in uses:
            after = before + quantity
            if line.kind == "package":
                opened = -(-after // line.size) - -(-before // line.size)
                if opened:
                    self.rows[*key, line.unit] += opened * line.size
            elif line.kind == "volume":
                reached = [p for limit, p in line.tiers if limit is None or total <= limit]
                self._charge(key, quantity, reached[0], is_agreed)
            else:
                lower = Fraction(0)
                for limit, price in line.tiers:
                    upper = after if limit is None else min(after, Fraction(limit))
                    part = upper - max(lower, before)
                    if part > 0:
                        self._charge(key, part, price, is_agreed)
                    lower = upper if limit is None else Fraction(limit)
            before = after

    def _charge(self, key, quantity, price, is_agreed):
        hour, _, model, traffic_class, meter, _ = key
        books = [self.contract] if is_agreed else [self.contract, self.listed]
        for version in filter(None, (holding(book, hour) for book in books)):
            for line in version.factors:
                if line.fits(model, meter, traffic_class):
                    price *= line.factor(hour)
        self.rows[*key, half_even(price, DECIMALS.get(meter, 12))] += quantity

    def _fees(self, known):
        is_over = known >= self.hours[-1] + HOUR
        spent = defaultdict(Fraction)
        for key, quantity in self.rows.items():
            spent[key[0]] += quantity * key[-1]
        for version in self.contract:
            held = [h for h in self.hours if holding(self.contract, h) is version]
            share = Fraction(len(held), len(self.hours))
            for line in version.monthly if held and held[0] <= known else ():
                meter = "fee" if line.kind == "flat" else "commitment"
                owed = half_even(line.unit * share, 12)
                if meter == "fee" and owed:
                    said = (share, line.unit) if half_even(share, 6) == share else (1, owed)
                    self.rows[held[0], 0, "", "", meter, "", said[1]] += said[0]
                missing = owed - sum(spent[h] for h in held)
                if meter == "commitment" and is_over and missing > 0:
                    self.rows[held[-1], 0, "", "", meter, "", missing] += 1


def half_even(value, decimals):
    return Fraction(round(value * 10**decimals), 10**decimals)


# --- invoices -------------------------------------------------------------------------------------


def to_pay(value, tenant):
    """The nearest amount that can be paid."""
    units = value * 10 ** tenant["decimals"]
    whole = round(units)
    if tenant["rounding"] == "HALF_UP":
        whole = (abs(units) + Fraction(1, 2)) // 1 * (1 if units >= 0 else -1)
    return Fraction(whole, 10 ** tenant["decimals"])


def lines_of(month):
    found = defaultdict(Fraction)
    for (_, _, model, _, meter, place, price), quantity in month.rows.items():
        found[model, meter, place, price] += quantity
    return found


def rate_of(tenant, closed_at, rates):
    """Of the nearest day up to that of the close, by the tenant's clock; at most a week before."""
    if tenant["invoiced_in"] == tenant["currency"]:
        return Fraction(1)
    last = closed_at.astimezone(ZoneInfo(tenant["zone"])).date()
    pair = [tenant["currency"], tenant["invoiced_in"]]
    days = [(date.fromisoformat(d), rate) for *names, d, rate in rates if names == pair]
    day, rate = max(d for d in days if d[0] <= last)
    assert last - day <= timedelta(days=7)
    return Fraction(rate)


def converted(value, rate):
    """At 12 decimals, half away from zero."""
    units = abs(value) * rate * 10**12
    whole = (units + Fraction(1, 2)) // 1
    return Fraction(whole if value >= 0 else -whole, 10**12)


def invoices_of(tenant, events, books, rates):
    """One for each month that was closed: its own lines, and what changed of months before it."""
    before = {}
    left = [Fraction(c["amount"]) for c in tenant["credits"]]
    for month, closed_at in tenant["closes"]:
        lines = {}
        for earlier in [*before, month]:
            now = lines_of(Month(tenant, earlier, events, books, at(closed_at)))
            old = before.get(earlier, {})
            corrects = "" if earlier == month else earlier
            for name in now.keys() | old.keys():
                if quantity := now.get(name, 0) - old.get(name, 0):
                    lines[corrects, *name] = quantity
            before[earlier] = now
        if lines:
            rate = rate_of(tenant, at(closed_at), rates)
            yield bill(tenant, month, at(closed_at), lines, left, rate)


def bill(tenant, month, closed_at, lines, left, rate):
    rows = [[*name, lines[name], converted(lines[name] * name[-1], rate)] for name in sorted(lines)]
    amounts = [to_pay(row[-1], tenant) for row in rows]
    promoted, prepaid = draw(tenant["credits"], left, rows, amounts, closed_at)
    bases = [amount - less for amount, less in zip(amounts, promoted, strict=True)]
    net = sum(bases)
    taxed = bases if tenant["tax_per"] == "line" else [net]
    taxes = [
        sum(to_pay(base * Fraction(rate), tenant) for base in taxed) for _, rate in tenant["taxes"]
    ]
    lines = [
        [*row[:4], *map(text, [*row[4:], amount])]
        for row, amount in zip(rows, amounts, strict=True)
    ]
    return {
        "tenant": tenant["id"], "month": month, "lines": lines,
        "rounding": text(sum(amounts) - sum(row[-1] for row in rows)),
        "promoted": text(sum(promoted)), "net": text(net), "taxes": [text(t) for t in taxes],
        "total": text(net + sum(taxes)), "prepaid": text(prepaid),
    }  # fmt: skip


def draw(credits, left, rows, amounts, now):
    """What credits pay of each line: promotions by line, prepaid as one sum. Lowers `left`."""
    open_ = list(amounts)
    promoted, prepaid = [Fraction(0)] * len(rows), Fraction(0)
    order = sorted(
        range(len(credits)), key=lambda n: (credits[n]["priority"], at(credits[n]["expires_at"]), n)
    )
    for n in (n for n in order if at(credits[n]["expires_at"]) > now):
        credit = credits[n]
        places = [
            place
            for place, (_, model, meter, *_) in enumerate(rows)
            if credit["model"] in ("", model) and credit["meter"] in ("", meter)
        ]
        room = min(left[n], sum(open_[p] for p in places), sum(open_))
        for place in places:
            used = min(room, open_[place])
            if used > 0:
                open_[place], room, left[n] = open_[place] - used, room - used, left[n] - used
                prepaid += used if credit["paid"] else 0
                promoted[place] += 0 if credit["paid"] else used
    return promoted, prepaid


def text(number):
    """All of its decimals: twelve are always enough, or something was divided that must not be."""
    units = Fraction(number) * 10**12
    assert units.denominator == 1, number
    return f"{units.numerator}e-12"


def read_events(lines):
    """By tenant; each id counts once, when it came first. What was kept began in its hour."""
    found, seen = defaultdict(list), set()
    for line in sorted(map(json.loads, lines), key=lambda e: e["received_at"]):
        if line["id"] in seen:
            continue
        seen.add(line["id"])
        e, is_kept = line["data"], line.get("type") == "quartermaster.prefixes.v1"
        micros = e["started_at" if is_kept else "finished_at"]
        hour = datetime.fromtimestamp(micros // 1_000_000, UTC).replace(minute=0, second=0)
        found[e["tenant_id"]].append({
            "received": at(line["received_at"]), "hour": hour,
            "key": (hour, e["application_id"], e["model"], e.get("traffic_class", "")),
            "outcome": e.get("outcome", "served"),
            "used": {KEPT: Fraction(e["gib_hours"])} if is_kept else used_by(e),
        })  # fmt: skip
    return found


def used_by(e):
    hosted = e.get("hosted", "")
    used = {(m, hosted): e[f"{m}_tokens"] for m in TOKENS} | {("request", hosted): 1}
    used["prompt", hosted] -= e["cached_tokens"]
    if not hosted:
        used["gpu_second", e.get("gpu_product", "")] = Fraction(
            e["gpu_ms"] * e.get("gpus", 1), 1000
        )
    return used


def price(lines, agreed):
    """Invoices of closed months, and every charge and every unpriced use as it stands last."""
    events = read_events(lines)
    books = {
        (book["tenant"], book["currency"]): [
            Version(v) for v in sorted(book["versions"], key=lambda v: at(v["published"]))
        ]
        for book in agreed["books"]
    }
    found = {"invoices": [], "charges": [], "unpriced": []}
    for tenant in agreed["tenants"]:
        mine = events[tenant["id"]]
        found["invoices"] += invoices_of(tenant, mine, books, agreed.get("rates", []))
        for month in agreed["months"]:
            last = Month(tenant, month, mine, books, at(agreed["known_until"]))
            for name, rows in (("charges", last.rows), ("unpriced", last.unpriced)):
                found[name] += [
                    [tenant["id"], hour.isoformat(), *key[:5], *map(text, [*key[5:], quantity])]
                    for (hour, *key), quantity in sorted(rows.items())
                ]
    return found


if __name__ == "__main__":
    with open(sys.argv[1]) as events, open(sys.argv[2]) as agreed:
        json.dump(price(events, json.load(agreed)), sys.stdout)
