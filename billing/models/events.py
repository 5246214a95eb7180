"""Events of finance: what happened, who is told of it, and each delivery."""

from enum import StrEnum

from django.contrib.postgres.fields import ArrayField
from django.db import models

from billing.models.receivers import Receiver
from tenants.base.rows import Claimable


class FinanceEvent(models.Model):
    """Something that finance systems may want to know. Written once, with what it tells of.

    `tenant_id` null: it concerns the fleet, such as list prices.
    """

    tenant_id = models.BigIntegerField(null=True)
    kind = models.CharField(max_length=32)
    subject = models.CharField(max_length=200)  # what people call the thing it tells of
    payload = models.TextField()  # the message, the same bytes in every delivery
    at = models.DateTimeField()

    class Meta:
        db_table = "finance_event"
        indexes = [models.Index(fields=["tenant_id", "-id"], name="finance_event_tenant")]

    def __str__(self) -> str:
        return f"{self.kind} {self.subject}"


class Webhook(Receiver):
    """A receiver of signed messages. Its secret is encrypted, and shown once when it is made.

    One of a tenant is told of that tenant; `tenant_id` null: the operator's, told of everything.
    """

    tenant_id = models.BigIntegerField(null=True)
    url = models.CharField(max_length=2000)
    kinds = ArrayField(models.CharField(max_length=32))
    secret = models.BinaryField()
    created_by = models.CharField(max_length=254)
    removed_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "webhook"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant_id", "url"],
                condition=models.Q(removed_at=None),
                name="webhook_once",
                nulls_distinct=False,
            )
        ]

    def __str__(self) -> str:
        return self.url


class EventDelivery(Claimable):
    """One event to one receiver, tried until it is taken or the tries are over.

    `tenant_id` is the receiver's: what the operator's receivers get, no tenant sees.
    """

    class State(StrEnum):
        WAITING = "waiting"
        DONE = "done"
        FAILED = "failed"

    tenant_id = models.BigIntegerField(null=True)
    event = models.ForeignKey(FinanceEvent, models.PROTECT, related_name="deliveries")
    webhook = models.ForeignKey(Webhook, models.PROTECT, null=True)
    mail = models.CharField(max_length=254, blank=True)  # where there is no webhook
    state = models.CharField(max_length=7, default=State.WAITING.value)
    tries = models.PositiveSmallIntegerField(default=0)
    answered = models.PositiveSmallIntegerField(null=True)  # status of the last answer
    why = models.TextField(blank=True)  # it was not taken
    tried_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField()

    class Meta:
        db_table = "event_delivery"
        constraints = [
            models.CheckConstraint(
                condition=models.Q(webhook=None) ^ models.Q(mail=""),
                name="event_delivery_one_way",
            )
        ]

    def __str__(self) -> str:
        return f"{self.event_id} to {self.mail or self.webhook_id}"
