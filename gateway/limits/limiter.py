"""Reserve all limits of a request in one step, and settle them once."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field

import msgspec

from gateway import errors
from gateway.contract import keys
from gateway.contract.outcomes import Reason
from gateway.contract.policy import Limit, Price
from gateway.limits.emergency import BUDGETS, EmergencyLimits, Hold
from gateway.limits.scripts import REAP, RENEW, RESERVE, SETTLE
from gateway.limits.wire import NotSentError, ReplyError, UnavailableError, Wire

log = logging.getLogger("gateway.limits")

LEASE_US = 30_000_000
BUDGET_SECONDS = 0.5  # patience where a budget must be checked
UNITS = {"b": "micro-units", "i": "input tokens", "o": "output tokens", "s": "tokens"}
REAP_GRACE_US = 60_000_000  # after the lease: a worker whose store was away comes back first


@dataclass(frozen=True, slots=True)
class Need:
    """What a request may use: `tokens` is likely and for the rates, the rest its most."""

    tokens: int
    micros: int
    input_tokens: int = 0
    output_tokens: int = 0


@dataclass(slots=True)
class Reservation:
    id: str
    tenant_id: int
    holds: tuple[Hold, ...]
    is_emergency: bool = False
    is_settled: bool = False

    @property
    def names(self) -> list[str]:
        return [keys.open_reservations(self.tenant_id), keys.reservation(self.tenant_id, self.id)]


class Checkpoint(msgspec.Struct, kw_only=True):
    """What a running request has used so far; kept so that a dead worker's work is billed."""

    tokens: int = 0
    micros: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    at: int = 0  # microseconds since the epoch


def cost_micros(price: Price | None, *, prompt: int, cached: int, completion: int) -> int:
    """Money of a request in micro-units, rounded up. `cached` is part of `prompt`."""
    if price is None:
        return 0
    fresh = max(0, prompt - cached)
    total = fresh * price.prompt + cached * price.cached + completion * price.completion
    return -(-total // 1_000_000)


def holds_for(limits: Sequence[Limit], need: Need) -> tuple[Hold, ...]:
    """List what the limits must give. None is "no opinion", 0 suspends."""
    holds: list[Hold] = []
    for limit in limits:
        tenant, number = limit.tenant_id, limit.id
        if limit.requests_per_minute is not None:
            name = keys.rate(tenant, number, "rpm")
            holds.append(Hold("r", name, limit.requests_per_minute, 1))
        if limit.tokens_per_minute is not None:
            name = keys.rate(tenant, number, "tpm")
            holds.append(Hold("t", name, limit.tokens_per_minute, need.tokens))
        if limit.concurrency is not None:
            holds.append(Hold("c", keys.leases(tenant, number), limit.concurrency, 1))
        holds += _budget_holds(limit, need)
    return tuple(holds)


def _budget_holds(limit: Limit, need: Need) -> list[Hold]:
    budgets = (
        ("b", "money", limit.budget_micros, need.micros),
        ("i", "input_tokens", limit.budget_input_tokens, need.input_tokens),
        ("o", "output_tokens", limit.budget_output_tokens, need.output_tokens),
        ("s", "tokens", limit.budget_tokens, need.input_tokens + need.output_tokens),
    )
    return [
        Hold(letter, keys.budget(limit.tenant_id, limit.id, limit.budget_period, kind), most, cost)
        for letter, kind, most, cost in budgets
        if most is not None
    ]


@dataclass
class Limiter:
    wire: Wire
    emergency: EmergencyLimits
    _background: set[asyncio.Task[None]] = field(default_factory=set)

    async def reserve(
        self, reservation_id: str, tenant_id: int, holds: tuple[Hold, ...], record: bytes
    ) -> Reservation | None:
        """Hold everything or raise the tightest refusal. None: no limit has an opinion.

        `record`: what the janitor needs to write the usage event if this worker dies.
        """
        if not holds:
            return None
        reservation = Reservation(reservation_id, tenant_id, holds)
        try:
            reply = await self._reserve(reservation, record)
        except NotSentError:
            return self._reserve_in_emergency(reservation)
        except UnavailableError:
            self._undo(reservation)
            return self._reserve_in_emergency(reservation)
        except ReplyError as error:  # a full store, or one that is only read
            log.error("the quota store refuses: %s", error)
            return self._reserve_in_emergency(reservation)
        except asyncio.CancelledError:
            self._undo(reservation)
            raise
        if reply[0] == 1:
            self.emergency.begin(holds)
            return reservation
        raise _refusal(holds[reply[1] - 1], retry=reply[2], used=reply[3])

    async def _reserve(self, reservation: Reservation, record: bytes) -> list[int]:
        names = reservation.names
        values: list[str | bytes | int] = [
            reservation.id,
            LEASE_US,
            msgspec.json.encode([(h.kind, h.name, h.limit, h.cost) for h in reservation.holds]),
            record,
        ]
        for hold in reservation.holds:
            names.append(hold.name)
            values += (hold.kind, hold.limit, hold.cost)
        # Rates have emergency limits to fall back to; budgets have nothing but the store.
        needs_store = any(hold.kind in BUDGETS for hold in reservation.holds)
        patience = BUDGET_SECONDS if needs_store else None
        reply: list[int] = await self.wire.run(RESERVE, names, values, timeout=patience)
        return reply

    def _reserve_in_emergency(self, reservation: Reservation) -> Reservation:
        self.emergency.reserve(reservation.holds, time.monotonic())
        return Reservation(
            reservation.id, reservation.tenant_id, reservation.holds, is_emergency=True
        )

    def settle_soon(self, reservation: Reservation, used: Checkpoint, *, release: bool) -> None:
        """Settle in the background: no client waits for it, and the second call does nothing."""
        if reservation.is_settled:
            return
        reservation.is_settled = True
        self.emergency.release(reservation.holds)
        if not reservation.is_emergency:
            self._in_background(self._settle(reservation, used, release))

    def _undo(self, reservation: Reservation) -> None:
        """The store may still do what it was asked: it is told to give it back after that."""
        self._in_background(self._settle(reservation, Checkpoint(), True))

    def _in_background(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.ensure_future(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _settle(self, reservation: Reservation, used: Checkpoint, release: bool) -> None:
        values: list[str | bytes | int] = [
            reservation.id,
            used.tokens,
            used.micros,
            int(release),
            used.prompt_tokens,
            used.completion_tokens,
        ]
        for attempt in range(4):
            try:
                await self.wire.run(SETTLE, reservation.names, values, timeout=1.0)
            except UnavailableError:
                await asyncio.sleep(0.5 * 2**attempt)
            except ReplyError as error:
                log.error("settle refused: %s", error)
                return
            else:
                return
        # The lease ends by itself and the janitor settles from the last checkpoint.
        log.warning("reservation %s was left to the janitor", reservation.id)

    async def settle_lost(self, tenant_id: int, request_id: str, checkpoint: Checkpoint) -> None:
        """Settle what a worker held that died, as far as it had come."""
        reservation = Reservation(request_id, tenant_id, ())
        await self._settle(reservation, checkpoint, False)

    async def renew(self, reservation: Reservation, checkpoint: Checkpoint) -> None:
        values: list[str | bytes | int] = [
            reservation.id,
            LEASE_US,
            msgspec.json.encode(checkpoint),
        ]
        await self.wire.run(RENEW, reservation.names, values, timeout=1.0)

    async def reap(
        self, tenant_id: int, *, grace_us: int = REAP_GRACE_US
    ) -> list[tuple[bytes, Checkpoint | None]]:
        """Settle what nobody renews any more; return (record, checkpoint) of each."""
        names = [keys.open_reservations(tenant_id)]
        values: list[str | bytes | int] = [grace_us, keys.reservation(tenant_id, "")]
        reply: list[bytes] = await self.wire.run(REAP, names, values, timeout=1.0)
        found = []
        for record, raw in zip(reply[::2], reply[1::2], strict=True):
            checkpoint = msgspec.json.decode(raw, type=Checkpoint) if raw else None
            found.append((record, checkpoint))
        return found

    async def drain(self) -> None:
        if self._background:
            await asyncio.wait(self._background, timeout=2.0)


def _refusal(hold: Hold, *, retry: int, used: int) -> errors.Refusal:
    if hold.kind in BUDGETS:
        return _budget_refusal(hold, retry=retry, used=used)
    if hold.kind == "c":
        text = f"{used} of {hold.limit} requests are running at once."
        return errors.limited(text, Reason.CONCURRENCY, None if retry < 0 else retry)
    what, reason = ("requests", Reason.RPM) if hold.kind == "r" else ("tokens", Reason.TPM)
    if retry < 0:
        text = f"This request needs {hold.cost} {what}; the limit is {hold.limit} a minute."
        return errors.limited(text, reason, None)
    text = (
        f"{used} of {hold.limit} {what} a minute are used and this request needs {hold.cost}; "
        f"try again in {retry} ms."
    )
    return errors.limited(text, reason, retry)


def _budget_refusal(hold: Hold, *, retry: int, used: int) -> errors.Refusal:
    if retry == -2:
        return errors.unverifiable()
    return errors.over_budget(
        f"{used} of {hold.limit} {UNITS[hold.kind]} of the budget are spent or held and this "
        f"request may need {hold.cost}."
    )
