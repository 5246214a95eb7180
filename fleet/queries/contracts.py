"""Output contracts: what a service promises, which version a rollout holds to, and how it went."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fleet.models import (
    TAKES_TRAFFIC,
    ContractResult,
    ObservedPod,
    OutputContract,
    Rollout,
    Service,
)
from fleet.queries.access import see_fleet
from fleet.rules.contract.prompts import expectation_of, read_contract
from tenants.errors import NotFound
from tenants.rules.access import Viewer


@dataclass(frozen=True, slots=True)
class VersionRow:
    version: int
    prompts: int
    by: str
    at: datetime
    why: str


@dataclass(frozen=True, slots=True)
class ContractRow:
    """What holds now. Version 0: nobody ever kept a set."""

    service_id: int
    service: str
    version: int
    prompts: Sequence[Mapping[str, Any]]
    expectations: tuple[tuple[str, str, str], ...]  # name, kind, in words
    versions: tuple[VersionRow, ...]  # newest first

    @property
    def etag(self) -> str:
        return f'"{self.service_id}-{self.version}"'


@dataclass(frozen=True, slots=True)
class ResultRow:
    """How a rollout's canary answered. `verdict` empty: not asked, or not all came yet."""

    version: int
    prompts: int
    at: datetime | None
    verdict: str
    why: str
    answers: Sequence[Mapping[str, Any]]  # fleet.rules.contract.answers.Sample


def get_contract(viewer: Viewer, of: int | Service) -> ContractRow:
    """Of a service that was read already, or of the one with this id."""
    see_fleet(viewer)
    service = of if isinstance(of, Service) else Service.objects.filter(pk=of).first()
    if service is None:
        raise NotFound("There is no such service")
    kept = list(
        OutputContract.objects.filter(service=service)
        .select_related("kept_by")
        .order_by("-version")[:50]
    )
    prompts = kept[0].prompts if kept else []
    return ContractRow(
        service_id=service.pk,
        service=service.name,
        version=kept[0].version if kept else 0,
        prompts=prompts,
        expectations=tuple((p.name, p.kind, expectation_of(p)) for p in read_contract(prompts)),
        versions=tuple(version_row(k) for k in kept),
    )


def find_contract(viewer: Viewer, name: str) -> ContractRow:
    """By the name of the service."""
    see_fleet(viewer)
    return get_contract(
        viewer, Service.objects.filter(name=name).values_list("id", flat=True).first() or 0
    )


def version_row(k: OutputContract) -> VersionRow:
    by = k.kept_by.email if k.kept_by else ""
    return VersionRow(k.version, len(k.prompts), by, k.at, k.why)


def current_contract(service_id: int) -> OutputContract | None:
    """What a rollout that is proposed now holds to; None: nothing."""
    last = OutputContract.objects.filter(service=service_id).order_by("-version").first()
    return last if last and last.prompts else None


def contract_of(r: Rollout) -> OutputContract | None:
    """The version that was frozen with the plan."""
    version = r.plan.get("contract")
    if version is None:
        return None
    return OutputContract.objects.get(service=r.service_id, version=version)


def result_of(r: Rollout) -> ResultRow | None:
    """None: the rollout holds to no contract."""
    contract = contract_of(r)
    if contract is None:
        return None
    row = ContractResult.objects.filter(rollout=r).order_by("-id").first()
    count = len(contract.prompts)
    if row is None:
        answers = r.memory.get("contract") or ()
        return ResultRow(contract.version, count, None, "", "", tuple(answers))
    return ResultRow(contract.version, count, row.at, row.verdict, row.why, tuple(row.answers))


def serving_pod(service_id: int) -> ObservedPod | None:
    """A replica of the current release that takes traffic now."""
    service = Service.objects.filter(pk=service_id).first()
    if service is None:
        raise NotFound("There is no such service")
    rows = ObservedPod.objects.filter(
        TAKES_TRAFFIC,
        deployment__service=service,
        deployment__release=service.current_release_id,
    )
    return rows.select_related("deployment__service").order_by("created_at", "id").first()
