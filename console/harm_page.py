"""What the page of a rollout says of harmed requests and of the drain, with where to look. Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from console import figures
from console.filters import compose
from fleet.queries.rollout_harm import DrainRow, Harm, HarmRow
from fleet.queries.rollouts import RolloutDetail
from fleet.rules.harm import Ends
from fleet.rules.phases import GOING_BACK, Phase

AFTER = timedelta(minutes=10)  # what was open at the end may end later
SHOWN = 3  # tenants that the tile names


@dataclass(frozen=True, slots=True)
class HarmPage:
    title: str  # "41 requests"
    text: str  # "acme 27, globex 9; 3 cut mid-stream"
    rows: tuple[tuple[HarmRow, str], ...]  # with the address of these requests
    drains: tuple[tuple[DrainRow, str], ...]  # with how broken ones ended


def harm_page(harm: Harm, now: datetime) -> HarmPage:
    rows = tuple((row, address(row, harm, now)) for row in harm.tenants)
    drains = tuple((drain, endings(drain.ends)) for drain in harm.drains)
    if harm.start is None:
        return HarmPage("None", "nothing was written to the cluster yet", rows, drains)
    if not harm.requests:
        return HarmPage("None known", "no request broke on what moves", rows, drains)
    named = [f"{tenant} {n:,}" for tenant, n in harm.tally[:SHOWN]]
    more = len(harm.tally) - SHOWN
    named += [f"{more} more tenant{'s' * (more > 1)}"] if more > 0 else []
    cut = f"; {harm.cut:,} cut mid-stream" if harm.cut else ""
    title = f"{harm.requests:,} request{'s' * (harm.requests != 1)}"
    return HarmPage(title, f"{', '.join(named)}{cut}", rows, drains)


def address(row: HarmRow, harm: Harm, now: datetime) -> str:
    assert harm.start is not None
    end = min(harm.end + AFTER, now) if harm.end else now
    given = {"tenant": row.tenant, "release": row.fingerprint, "outcome": "trouble"}
    return compose(harm.start, max(end, harm.start + timedelta(seconds=1)), **given)


def endings(ends: Ends) -> str:
    kinds = ((ends.aborted, "aborted"), (ends.failed, "failed"), (ends.hung, "hung"))
    parts = [f"{n:,} {word}" for n, word in kinds if n]
    parts += [f"{ends.cut:,} of them cut mid-stream"] if ends.cut else []
    return ", ".join(parts) or "none"


def verified(detail: RolloutDetail) -> tuple[str, str]:
    """Of a way back: what was proved, for the tile."""
    if detail.rollout.phase == Phase.ROLLED_BACK:
        old = detail.old.label if detail.old else "Nothing"
        return f"{old} answers" if detail.old else "Taken away", proof_in(detail.rollout.why)
    if Phase(detail.rollout.phase) in GOING_BACK:
        return "Not yet", "fingerprints of all replicas, and a window without a request"
    return figures.MISSING, ""


def proof_in(why: str) -> str:
    """The sentence of the end without the cause, which stands above."""
    return why.partition(" Cause: ")[0].rstrip(".")
