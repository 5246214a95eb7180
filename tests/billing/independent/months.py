"""Two months that price.py and the console both price: who agreed to what, and raw events.

Everything follows from the seed. Zones whose clocks change in these months, by half an hour too;
currencies without decimals; every kind of price; contracts that change or end within the month;
usage that comes late, twice, for nothing, or for a model without a price; prices that are mended
when the books of their month are closed.
"""

import random
import uuid
from datetime import UTC, datetime, timedelta

MONTHS = ("2026-09", "2026-10", "2026-11", "2026-12")
CLOSES = {"2026-10": "2026-11-05T09:00:00+00:00", "2026-11": "2026-12-05T09:00:00+00:00"}
KNOWN_UNTIL = "2026-12-20T09:00:00+00:00"
# When gateways deliver: at the end what is late for one closed month, then for both.
DELIVERIES = tuple(
    datetime(2026, month, day, 8, tzinfo=UTC)
    for month, day in ((10, 9), (10, 15), (10, 20), (10, 28), (11, 4), (11, 16), (12, 3), (12, 18))
)
LATEST = timedelta(days=61)  # what is older is taken from no gateway
TENANTS = {
    "acme": {"zone": "Europe/Berlin", "currency": "EUR", "taxes": [["VAT", "0.19"]]},
    "globex": {
        "zone": "America/New_York", "currency": "USD", "rounding": "HALF_UP", "tax_per": "line",
        "taxes": [["State", "0.0625"], ["City", "0.02875"]],
        "closes": [("2026-09", "2026-10-12T09:00:00+00:00"), *CLOSES.items()],
    },
    "kolkata": {"zone": "Asia/Kolkata", "currency": "USD"},
    "howe": {"zone": "Australia/Lord_Howe", "currency": "EUR", "tax_per": "line"},
    "tokyo": {"zone": "Asia/Tokyo", "currency": "JPY", "decimals": 0, "taxes": [["Tax", "0.1"]]},
    "basel": {"zone": "Europe/Zurich", "currency": "EUR", "invoiced_in": "CHF"},
    "manama": {
        "zone": "Asia/Bahrain", "currency": "USD", "invoiced_in": "BHD", "decimals": 3,
        "rounding": "HALF_UP", "taxes": [["VAT", "0.1"]],
    },
}  # fmt: skip
# base, quote, day, rate; recorded on that day. None for the day of a close: the one before holds.
RATES = (
    ("EUR", "CHF", "2026-10-29", "0.9"),
    ("EUR", "CHF", "2026-11-03", "0.937654321987"),
    ("EUR", "CHF", "2026-12-05", "0.94"),
    ("USD", "BHD", "2026-11-05", "0.37609"),
    ("USD", "BHD", "2026-12-01", "0.376091234567"),
    ("BHD", "USD", "2026-12-05", "2.659"),
)
CREDITS = {
    "globex": [
        {"name": "Welcome", "amount": "3.00", "priority": 50, "meter": "completion"},
        {"name": "Prepaid", "amount": "400.00", "priority": 50, "paid": True},
        {"name": "First", "amount": "2.50", "priority": 9, "model": "chat"},
        {
            "name": "Old",
            "amount": "90.00",
            "priority": 1,
            "expires_at": "2026-11-01T00:00:00+00:00",
        },
    ],
    "tokyo": [{"name": "Welcome", "amount": "77", "priority": 100}],
}
# Half of all say nothing, as older gateways do.
PLACES = (
    *([{}] * 5), {"gpus": 8, "gpu_product": "H100"}, {"gpus": 1, "gpu_product": "L40S"},
    {"gpus": 2, "gpu_product": "H100"}, {"hosted": "Example AI"}, {"hosted": "Other", "gpus": 4},
)  # fmt: skip
FREE = [["chat", "cached", "0"], ["embed", "cached", "0"], ["embed", "completion", "0"]]
# (owner, currency): versions as (from, until, published, lines).
BOOKS = {
    ("", "EUR"): [
        ("2026-01-01T00", "", "2026-01-01T00", [
            ["chat", "prompt", "0.51"], ["chat", "cached", "0.0517"],
            ["chat", "completion", "1.53"],
            ["code", "prompt", "volume 4000000:1.251 9000000:1.1 rest:0.999"],
            ["code", "cached", "0.125"], ["code", "completion", "tiered 700000:5.003 rest:4.1"],
            ["chat", "completion", "1.7001", "critical"], ["chat", "gpu_second", "0.000123457"],
            ["chat", "gpu_second", "0.000345678", "", "H100"],
            ["chat", "prompt", "tiered 3000000:0.91 rest:0.8", "", "hosted"],
            ["chat", "cached", "0.31", "", "hosted"], ["chat", "completion", "2.2", "", "hosted"],
            ["chat", "prompt", "1.13", "", "Example AI"], ["chat", "cached", "0", "", "Example AI"],
            ["chat", "completion", "2.9", "", "Example AI"],
            ["", "", "factor Europe/Berlin mon-fri@22-6:0.5 sat-sun@0-24:0.83333"],
            ["chat", "", "factor 0.777777", "batch"],
        ]),
        ("2026-10-13T07", "", "2026-10-10T00", [
            ["chat", "prompt", "tiered 1000000:0.6 4000000:0.45 rest:0.3"],
            ["chat", "cached", "0.0517"], ["chat", "completion", "1.53"],
            ["code", "prompt", "volume 4000000:1.251 9000000:1.1 rest:0.999"],
            ["code", "cached", "0.125"], ["code", "completion", "tiered 700000:5.003 rest:4.1"],
            ["code", "request", "0.777"], ["code", "kept_prefix", "tiered 400:0.0271 rest:0.019"],
        ]),
        ("2026-10-20T00", "", "2026-11-12T00", [
            ["chat", "prompt", "tiered 900000:0.61 rest:0.29"], ["chat", "cached", "0"],
            ["chat", "completion", "1.53"], ["code", "prompt", "1.2"], ["code", "cached", "0.125"],
            ["code", "completion", "tiered 700000:5.003 rest:4.1"],
            ["", "prompt", "factor Europe/Berlin 2-3:3"],
        ]),
    ],
    ("", "USD"): [
        ("2026-01-01T00", "", "2026-01-01T00", [
            ["chat", "prompt", "0.5"], ["chat", "completion", "1.5"], *FREE,
            ["embed", "prompt", "package 1500000:2.25"], ["chat", "request", "0.4"],
            ["chat", "kept_prefix", "0.013579"],
            ["code", "prompt", "1.25"], ["code", "cached", "0.125"], ["code", "completion", "5"],
        ]),
        ("2026-11-03T17", "", "2026-11-02T00", [
            ["chat", "prompt", "0.5"], ["chat", "completion", "1.5"], *FREE,
            ["embed", "prompt", "package 2000000:2.5"], ["", "", "factor 1.05", "critical"],
            ["code", "prompt", "1.25"], ["code", "cached", "0.125"], ["code", "completion", "5"],
        ]),
    ],
    ("", "JPY"): [
        ("2026-01-01T00", "", "2026-01-01T00", [
            ["chat", "prompt", "77"], ["chat", "cached", "7.7"], ["chat", "completion", "231"],
        ]),
    ],
    ("acme", "EUR"): [
        ("2026-09-30T22", "", "2026-09-20T00", [
            ["", "fee", "flat 499.99"], ["", "", "factor 0.9"],
            ["chat", "", "factor Europe/Berlin 0-8:0.123456789"], ["code", "cached", "0.11"],
        ]),
        ("2026-10-16T10", "2026-11-10T00", "2026-10-14T00", [
            ["", "fee", "flat 250"], ["", "commitment", "commitment 60.5"],
            ["chat", "prompt", "volume 2000000:0.4 rest:0.2"],
            ["chat", "completion", "tiered 100000:1.1 rest:1.01"], ["", "", "factor 0.95", "batch"],
        ]),
    ],
    ("globex", "USD"): [
        # The second takes the place of the first when hours after its end are rated already.
        ("2026-10-01T00", "", "2026-09-20T00", [["chat", "completion", "1.1"]]),
        ("2026-10-05T00", "2026-10-12T00", "2026-11-12T00", [["chat", "completion", "0.9"]]),
    ],
    ("howe", "EUR"): [
        ("2026-09-30T14", "2026-11-20T05", "2026-09-20T00", [
            ["chat", "prompt", "package 1000000:0.7", "batch"], ["chat", "prompt", "0.65"],
            ["", "commitment", "commitment 45"],
        ]),
    ],
}  # fmt: skip
MODELS = ("chat", "chat", "chat", "code", "code", "embed", "vision")  # vision has no price
CLASSES = ("interactive", "interactive", "batch", "critical")
OUTCOMES = ("served",) * 8 + ("cancelled", "rerouted", "degraded", "failed", "timed_out", "shed")
LARGEST = 900_000


def agreed(ids):
    """The description that price.py reads. `ids` by slug."""
    return {
        "books": [
            {
                "tenant": ids.get(owner),
                "currency": currency,
                "versions": [version(*given) for given in versions],
            }
            for (owner, currency), versions in BOOKS.items()
        ],
        "tenants": [tenant(slug, ids[slug], **given) for slug, given in TENANTS.items()],
        "months": MONTHS,
        "rates": RATES,
        "known_until": KNOWN_UNTIL,
    }


def version(start, until, published, lines):
    return {
        "from": hour(start),
        "until": until and hour(until),
        "published": hour(published),
        "prices": [[*line, "", ""][:5] for line in lines],
    }


def hour(text):
    return f"{text}:00:00+00:00"


def tenant(slug, pk, **given):
    terms = {"decimals": 2, "rounding": "HALF_EVEN", "tax_per": "invoice", "taxes": []}
    plain = {"model": "", "meter": "", "paid": False, "expires_at": ""}
    credits = [plain | credit for credit in CREDITS.get(slug, [])]
    terms["invoiced_in"] = given["currency"]
    return {"id": pk, "closes": list(CLOSES.items()), "credits": credits, **terms, **given}


def events(seed, owners, count):
    """CloudEvents with `received_at`, some of them twice. `owners`: tenant and application ids."""
    rng = random.Random(seed)
    found = [event(rng, *rng.choice(owners)) for _ in range(count)]
    known = (DELIVERIES[-1] - LATEST).timestamp() * 1_000_000
    again = [e for e in found if e["data"]["finished_at"] > known and rng.random() < 0.05]
    return [
        *found,
        *(e | {"received_at": DELIVERIES[-1].isoformat()} for e in again),
        *reports(random.Random(f"prefixes {seed}"), owners, count // 8),
    ]


def event(rng, tenant_id, application_id):
    ended = moment(rng)
    arrivals = [d for d in DELIVERIES if d > ended]
    received = arrivals[0] if rng.random() < 0.8 else rng.choice(arrivals)
    if received - ended > LATEST:
        received = arrivals[0]
    micros = round(ended.timestamp()) * 1_000_000 + rng.randrange(1_000_000)
    prompt = rng.choice((0, 1, rng.randrange(2_000), rng.randrange(LARGEST)))
    data = {
        "schema": 1,
        "request_id": str(uuid.UUID(int=rng.getrandbits(128), version=4)),
        "tenant_id": tenant_id,
        "application_id": application_id,
        "credential_id": 7,
        "model": rng.choice(MODELS),
        "service_id": 1,
        "traffic_class": rng.choice(CLASSES),
        "outcome": rng.choice(OUTCOMES),
        "http_status": 200,
        "usage_quality": "final",
        "prompt_tokens": prompt,
        "cached_tokens": rng.choice((0, prompt, prompt // 3)),
        "completion_tokens": rng.choice((0, rng.randrange(5_000), rng.randrange(90_000))),
        "gpu_ms": rng.randrange(90_000),
        **rng.choice(PLACES),
        "started_at": micros - 1_000,
        "finished_at": micros,
    }
    return {
        "specversion": "1.0",
        "id": data["request_id"],
        "source": "gateway/w0",
        "type": "quartermaster.usage.v1",
        "time": ended.isoformat(),
        "received_at": received.isoformat(),
        "data": data,
    }


def reports(rng, owners, count):
    """Of prefixes that a store kept, each for some minutes of an hour."""
    return [report(rng, *rng.choice(owners)) for _ in range(count)]


def report(rng, tenant_id, application_id):
    began = moment(rng)
    left = 3_600 - began.minute * 60 - began.second
    ended = began + timedelta(seconds=rng.randrange(1, left + 1))
    micros = [round(t.timestamp()) * 1_000_000 for t in (began, ended)]
    received = next(d for d in DELIVERIES if d > ended)
    return {
        "specversion": "1.0",
        "id": str(uuid.UUID(int=rng.getrandbits(128), version=4)),
        "source": "store/0",
        "type": "quartermaster.prefixes.v1",
        "time": ended.isoformat(),
        "received_at": received.isoformat(),
        "data": {
            "tenant_id": tenant_id,
            "application_id": application_id,
            "model": rng.choice(MODELS),
            "gib_hours": f"{rng.randrange(90_000_000)}e-6",
            "started_at": micros[0],
            "finished_at": micros[1],
        },
    }


# Where hours go wrong: clocks change, months end by some clock, prices change.
EDGES = tuple(
    datetime.fromisoformat(hour(text))
    for text in (
        "2026-10-01T00", "2026-10-03T15", "2026-10-13T07", "2026-10-16T10", "2026-10-25T00",
        "2026-10-25T01", "2026-10-31T13", "2026-10-31T18", "2026-10-31T23", "2026-11-01T05",
        "2026-11-03T17", "2026-11-10T00", "2026-11-20T05", "2026-11-30T15",
    )
)  # fmt: skip


def moment(rng):
    if rng.random() < 0.4:
        return rng.choice(EDGES) + timedelta(seconds=rng.randrange(-7_200, 7_200))
    return EDGES[0] + timedelta(seconds=rng.randrange(62 * 86_400))
