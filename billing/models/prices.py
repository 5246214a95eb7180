"""Prices: a book for each currency, whose published versions never change."""

from django.contrib.postgres.fields import DateTimeRangeField
from django.db import models

from tenants.base.rows import Versioned


class PriceBook(Versioned):
    """List prices in one currency. A tenant pays by the book of its currency.

    `version` counts the changes of the book and makes its ETag.
    """

    slug = models.SlugField(max_length=63, unique=True)
    name = models.CharField(max_length=120)
    currency = models.CharField(max_length=3, unique=True)

    class Meta:
        db_table = "price_book"

    def __str__(self) -> str:
        return self.slug


class PriceBookVersion(models.Model):
    """All prices that hold together in a range of time. Published versions never overlap.

    A later version cuts the range of the one before it, or empties it; nothing else changes
    after publication, which triggers enforce.
    """

    book = models.ForeignKey(PriceBook, models.PROTECT, related_name="versions")
    number = models.PositiveIntegerField()
    why = models.TextField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.CharField(max_length=254)
    published_at = models.DateTimeField(null=True)
    published_by = models.CharField(max_length=254, blank=True)
    effective = DateTimeRangeField(null=True)  # null: draft
    applied_at = models.DateTimeField(null=True)  # rating marked the hours that it touches

    class Meta:
        db_table = "price_book_version"
        constraints = [
            models.UniqueConstraint(fields=["book", "number"], name="price_book_version_number")
        ]

    def __str__(self) -> str:
        return f"{self.book_id} v{self.number}"


class Price(models.Model):
    """Currency units for one token, request or GPU-second. Never changed."""

    book_version = models.ForeignKey(PriceBookVersion, models.PROTECT, related_name="prices")
    model = models.CharField(max_length=128)
    meter = models.CharField(max_length=12)
    traffic_class = models.CharField(max_length=12, blank=True)  # empty: every class
    unit_price = models.DecimalField(max_digits=24, decimal_places=12)

    class Meta:
        db_table = "price"
        constraints = [
            models.UniqueConstraint(
                fields=["book_version", "model", "meter", "traffic_class"], name="price_once"
            ),
            models.CheckConstraint(
                condition=models.Q(unit_price__gte=0), name="price_not_negative"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.model} {self.meter} {self.unit_price}"
