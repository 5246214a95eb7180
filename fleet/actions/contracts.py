"""Keep the output contract of a service, and try prompts on what serves now.

Trying asks an engine and comes outside any transaction; the doors then open the viewer's scope.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.utils import timezone

from fleet.clients.contract import put
from fleet.models import EngineProbe, OutputContract, Service
from fleet.queries.access import see_fleet
from fleet.queries.contracts import serving_pod
from fleet.rules.contract.answers import Said, Sample, judge
from fleet.rules.contract.prompts import Prompt, read_contract
from fleet.rules.phases import Verdict
from tenants.actions.audit import record
from tenants.errors import Conflict, Invalid, NotFound, Stale
from tenants.rules.access import Permission, Viewer

AT_ONCE = 4  # questions to a replica that serves tenants meanwhile
Put = Callable[[str, str, Prompt], Said]


@dataclass(frozen=True, slots=True)
class Tried:
    """What a replica of the current release made of some prompts. Nothing of it is kept."""

    release: str
    pod: str
    kept: bool
    answers: tuple[Sample, ...]


def try_contract(viewer: Viewer, service_id: int, prompts: Any, ask: Put = put) -> Tried:
    """Put prompts to one replica that serves now, past the gateway. Call it in no transaction."""
    see_fleet(viewer)
    viewer.require(Permission.MANAGE_FLEET)
    found = read(prompts)
    if not found:
        raise Invalid(prompts="There is no prompt in the list to try")
    pod = serving_pod(service_id)
    if pod is None or pod.deployment is None:
        raise Conflict("No replica of the current release takes traffic now: nothing can be asked")
    service = pod.deployment.service
    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        said = pool.map(lambda prompt: ask(pod.address, service.name, prompt), found)
        pairs = zip(found, said, strict=True)
        answers = tuple(judge(prompt, answer, pod.name) for prompt, answer in pairs)
    count_tokens(service, pod.uid, answers)
    kept = all(a.verdict == Verdict.PASS for a in answers)
    return Tried(str(pod.deployment.release), pod.name, kept, answers)


def count_tokens(service: Service, uid: str, answers: tuple[Sample, ...]) -> None:
    """They are in the engine's counters and on nobody's bill, as those of probes."""
    now = timezone.now()
    EngineProbe.objects.bulk_create(
        EngineProbe(
            pod_uid=uid,
            service=service,
            at=now,
            passed=a.verdict == Verdict.PASS,
            milliseconds=a.milliseconds,
            prompt_tokens=a.prompt_tokens,
            completion_tokens=a.completion_tokens,
            told=f"{a.name}: {a.why}"[:200],
        )
        for a in answers
    )


@transaction.atomic
def keep_contract(
    viewer: Viewer, service_id: int, expected_version: int, *, prompts: Any, why: str
) -> OutputContract:
    """Make a new version. Rollouts that are proposed from now on hold to it."""
    see_fleet(viewer)
    viewer.require(Permission.MANAGE_FLEET)
    read(prompts)
    if not why.strip():
        raise Invalid(why="Say why: it is kept with the version")
    service = Service.objects.select_for_update(no_key=True).filter(pk=service_id).first()
    if service is None:
        raise NotFound("There is no such service")
    last = OutputContract.objects.filter(service=service).order_by("-version").first()
    version, before = (last.version, last.prompts) if last else (0, [])
    if version != expected_version:
        raise Stale(f"Version {version} was kept meanwhile: look at it again, then retry")
    if prompts == before:
        raise Conflict(f"These are the prompts of version {version} already")
    kept = OutputContract.objects.create(
        service=service,
        version=version + 1,
        prompts=prompts,
        why=why.strip(),
        kept_by_id=viewer.user_id,
    )
    told = names_of(prompts)
    record(viewer, "contract.keep", kept, before=names_of(before), after=told, why=why)
    return kept


def names_of(prompts: Any) -> dict[str, str]:
    """What the audit shows at a glance; each version is kept whole beside it."""
    return {p["name"]: p["kind"] for p in prompts}


def read(prompts: Any) -> tuple[Prompt, ...]:
    try:
        return read_contract(prompts)
    except ValueError as error:
        raise Invalid(prompts=str(error)) from error
