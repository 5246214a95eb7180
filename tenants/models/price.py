from django.db import models


class PublishedPrice(models.Model):
    """What the gateway holds money by, for one served model. Billing publishes, nobody else.

    Micro-units of the currency per million tokens.
    """

    model = models.CharField(max_length=128, unique=True)
    version = models.BigIntegerField()
    prompt = models.BigIntegerField()
    cached = models.BigIntegerField()
    completion = models.BigIntegerField()
    published_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "published_price"

    def __str__(self) -> str:
        return f"{self.model} v{self.version}"
