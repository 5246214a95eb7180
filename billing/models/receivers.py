"""What receivers of signed messages have in common: a secret that is renewed without a loss."""

from datetime import datetime

from django.db import models

from tenants.base.rows import Versioned


class Receiver(Versioned):
    """`previous` signs beside the secret of now: whoever knows one of the two takes the message."""

    previous = models.BinaryField(null=True)  # the secret before, encrypted
    previous_until = models.DateTimeField(null=True)

    class Meta:
        abstract = True

    def previous_at(self, now: datetime) -> bytes | memoryview | None:
        return self.previous if self.previous_until and now < self.previous_until else None
