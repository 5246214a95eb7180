"""Who and what the demo consists of."""

from dataclasses import dataclass
from decimal import Decimal

SMALL, LARGE = "chat-small", "chat-large"
MODELS = (SMALL, LARGE)
LARGE_TOO = "chat-large-2"  # answers for the large one in the second cluster
DOMAIN = "quartermaster.test"  # a name that can never receive mail
SOURCE, HISTORY_SOURCE = "gateway", "demo-history"
OPEN_KEY = "try-it"  # the key of each tenant that is shown to the person who runs the demo


@dataclass(frozen=True)
class DemoPerson:
    who: str  # the key in the file of credentials
    email: str
    name: str
    roles: tuple[str, ...]
    tenant: str = ""


@dataclass(frozen=True)
class DemoApplication:
    slug: str
    name: str
    cost_centre: str
    traffic_class: str
    models: tuple[str, ...]  # the favourite first
    per_day: int  # requests of a usual working day in the history


@dataclass(frozen=True)
class DemoTenant:
    slug: str
    name: str
    traffic_class: str
    time_zone: str
    applications: tuple[DemoApplication, ...]
    requests_per_minute: int
    tokens_per_minute: int
    concurrency: int
    monthly_budget: Decimal


PEOPLE = (
    DemoPerson("operator", f"olga@{DOMAIN}", "Olga Operator", ("operator", "finance")),
    DemoPerson("approver", f"vic@{DOMAIN}", "Vic Approver", ("approver",)),
    DemoPerson("finance", f"fiona@{DOMAIN}", "Fiona Finance", ("finance",)),
    DemoPerson("viewer", f"walt@{DOMAIN}", "Walt Viewer", ("viewer",)),
    DemoPerson("tenant_viewer", f"ada@acme.{DOMAIN}", "Ada of Acme", ("viewer",), "acme"),
)

TENANTS = (
    DemoTenant(
        "acme",
        "Acme Robotics",
        "critical",
        "Europe/Berlin",
        (
            DemoApplication("shop", "Shop assistant", "CC-1100", "interactive", MODELS, 700),
            DemoApplication("stop", "Emergency stop texts", "CC-1900", "critical", (SMALL,), 90),
        ),
        requests_per_minute=1_200,
        tokens_per_minute=600_000,
        concurrency=64,
        monthly_budget=Decimal(900),
    ),
    DemoTenant(
        "globex",
        "Globex Logistics",
        "interactive",
        "America/New_York",
        (
            DemoApplication("support", "Support desk", "GX-20", "interactive", (LARGE, SMALL), 620),
            DemoApplication("reports", "Nightly reports", "GX-31", "batch", (LARGE,), 260),
        ),
        requests_per_minute=900,
        tokens_per_minute=450_000,
        concurrency=48,
        monthly_budget=Decimal(700),
    ),
    DemoTenant(
        "initech",
        "Initech Insurance",
        "interactive",
        "UTC",
        (
            DemoApplication("portal", "Customer portal", "INI-7", "interactive", (SMALL,), 240),
            DemoApplication("claims", "Claims in bulk", "INI-9", "batch", (SMALL, LARGE), 190),
        ),
        requests_per_minute=600,
        tokens_per_minute=240_000,
        concurrency=24,
        monthly_budget=Decimal(250),
    ),
)
