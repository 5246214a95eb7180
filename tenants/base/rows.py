"""Abstract tables every app may build on."""

import traceback
import uuid
from datetime import datetime, timedelta
from typing import Any, Self

from django.db import connection, models
from django.db.models import F, Q
from django.db.models.functions import Now

from tenants.base.scope import fleet_scope
from tenants.errors import Stale

CLAIM = timedelta(seconds=20)  # what a worker that is killed holds up; renewed while it lives


def database_now() -> datetime:
    """The time for what several machines write and compare: their own clocks may differ."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        found: datetime = cursor.fetchone()[0]
    return found


class Claimable(models.Model):
    """A row that one worker at a time may move. The row is the truth, a task only a nudge.

    `fence` rises with every claim and is stamped on every effect, so that the effect of a worker
    that was frozen and came back is told apart. All comparisons use the database's clock.
    """

    look_again = models.DateTimeField(null=True, db_index=True)  # null: nothing left to do
    claim = models.UUIDField(null=True, editable=False)
    claim_until = models.DateTimeField(null=True, editable=False)
    fence = models.BigIntegerField(default=0, editable=False)
    failures = models.PositiveSmallIntegerField(default=0)  # passes that raised, in a row
    failure = models.TextField(blank=True)  # the traceback of the last one

    LONGEST_PARK = timedelta(hours=1)  # after the third pass that raised

    class Meta:
        abstract = True

    @classmethod
    def due(cls, **chosen: Any) -> list[int]:
        """Rows whose time has come and that nobody holds, those that wait longest first."""
        free = Q(claim_until=None) | Q(claim_until__lt=Now())
        rows = cls._default_manager.filter(free, look_again__lte=Now(), **chosen)
        return list(rows.order_by("look_again").values_list("pk", flat=True))

    @classmethod
    def take_claim(cls, pk: int, *, hold: timedelta = CLAIM) -> uuid.UUID | None:
        """Take the row for `hold`. None: another worker has it."""
        claim = uuid.uuid4()
        free = Q(claim_until=None) | Q(claim_until__lt=Now())
        rows = cls._default_manager.filter(free, pk=pk)
        taken = rows.update(claim=claim, claim_until=Now() + hold, fence=F("fence") + 1)
        return claim if taken else None

    @classmethod
    def keep_claim(cls, pk: int, claim: uuid.UUID, *, hold: timedelta = CLAIM) -> bool:
        """Hold the row longer, in a pass that takes long. False: the claim was lost."""
        rows = cls._default_manager.filter(pk=pk, claim=claim)
        return bool(rows.update(claim_until=Now() + hold))

    @classmethod
    def record(cls, pk: int, claim: uuid.UUID, **changes: Any) -> bool:
        """Write the result of a pass and free the row. False: the claim was lost, drop it."""
        rows = cls._default_manager.filter(pk=pk, claim=claim)
        return bool(rows.update(claim=None, claim_until=None, **changes))

    @classmethod
    def parked(cls) -> models.Case:
        return models.Case(
            models.When(failures=0, then=timedelta(seconds=15)),
            models.When(failures=1, then=timedelta(minutes=1)),
            default=cls.LONGEST_PARK,
            output_field=models.DurationField(),
        )

    @classmethod
    def park(cls, pk: int, claim: uuid.UUID) -> None:
        """Keep the traceback of a pass that raised with its row, and wait longer each time.

        Where the pass raised because its connection died, the row is not to blame: it is due at
        once, for whoever has a connection. The claim of a pass that could not even say so ends by
        itself.
        """
        changes: dict[str, Any] = {
            "failures": F("failures") + 1,
            "failure": traceback.format_exc()[-8000:],
            "look_again": Now() + cls.parked(),
        }
        if not connection.in_atomic_block and connection.connection and not connection.is_usable():
            connection.close()
            changes = {"look_again": Now()}
        with fleet_scope():
            cls.record(pk, claim, **changes)


class Versioned(models.Model):
    """A row that people edit: `version` rises with every change and makes the ETag."""

    version = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField(auto_now_add=True)
    changed_at = models.DateTimeField(auto_now=True)

    class Meta:
        abstract = True

    @property
    def etag(self) -> str:
        return f'"{self.pk}-{self.version}"'

    def change(self, expected: int | None, **fields: Any) -> Self:
        """Change fields if the version is still `expected` (None: whatever it is now)."""
        known = self.version if expected is None else expected
        rows = type(self)._default_manager.filter(pk=self.pk, version=known)
        changed = rows.update(version=F("version") + 1, changed_at=Now(), **fields)
        if not changed:
            raise Stale("Somebody else changed this meanwhile: look at it again, then retry")
        self.refresh_from_db()
        return self
