"""The demo's services. They exist before the cluster does, so that usage can name them."""

from dataclasses import dataclass, replace

from django.utils import timezone

from console.demo.cast import LARGE, LARGE_TOO, SMALL
from fleet.actions import services
from fleet.queries.services import ServiceRow, list_services
from tenants.rules.access import system_viewer

MACHINE = system_viewer("demo")


@dataclass(frozen=True)
class DemoService:
    name: str
    description: str
    replicas: int
    gpu_product: str


SERVICES = (
    DemoService(SMALL, "Short answers; a tiny model on the small GPUs", 2, "NVIDIA-L40S"),
    DemoService(LARGE, "Long answers; on the large GPUs", 4, "NVIDIA-H100-80GB-HBM3"),
)
PLACEMENT = DemoService(LARGE_TOO, f"{LARGE} in the second cluster", 2, "NVIDIA-H100-80GB-HBM3")
LONGEST_CONTEXT = 2048


def register_services(replicas: int) -> None:
    """`replicas`: of the small one."""
    known = rows_by_name()
    for demo in SERVICES:
        if demo.name not in known:
            create_service(replace(demo, replicas=replicas) if demo.name == SMALL else demo)


def create_service(demo: DemoService) -> int:
    made = services.create(
        MACHINE,
        name=demo.name,
        description=demo.description,
        demo=True,
        replicas=demo.replicas,
        max_model_len=LONGEST_CONTEXT,
        default_max_tokens=128,
    )
    return made.pk


def rows_by_name() -> dict[str, ServiceRow]:
    return {row.name: row for row in list_services(MACHINE, timezone.now())}


def service_ids() -> dict[str, int]:
    return {name: row.id for name, row in rows_by_name().items()}
