"""Prices: a book for each currency, whose published versions never change."""

from django.contrib.postgres.fields import DateTimeRangeField
from django.db import models

from billing.rules.prices.terms import Kind
from tenants.base.rows import Versioned

KINDS = [(k.value, k.value) for k in Kind]


class PriceBook(Versioned):
    """List prices in one currency; or the contract of a tenant, whose prices come before them.

    A tenant pays by the book of its currency. `version` counts changes and makes the ETag. Row
    level security shows everybody the list, and a contract to its tenant; versions and prices
    follow their book.
    """

    slug = models.SlugField(max_length=63, unique=True)
    name = models.CharField(max_length=120)
    currency = models.CharField(max_length=3)
    tenant_id = models.BigIntegerField(null=True)  # null: the list, for all

    class Meta:
        db_table = "price_book"
        constraints = [
            models.UniqueConstraint(
                fields=["currency"],
                condition=models.Q(tenant_id=None),
                name="price_book_one_list",
            ),
            models.UniqueConstraint(fields=["tenant_id"], name="price_book_one_contract"),
        ]

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
    change_id = models.BigIntegerField(null=True)  # the request to publish it, while it waits
    applied_at = models.DateTimeField(null=True)  # rating marked the hours that it touches

    class Meta:
        db_table = "price_book_version"
        constraints = [
            models.UniqueConstraint(fields=["book", "number"], name="price_book_version_number")
        ]

    def __str__(self) -> str:
        return f"{self.book_id} v{self.number}"


class Price(models.Model):
    """A price of a version: changed with its draft, never once that is published.

    The kind unit has its `unit_price`, for one token, request or GPU-second; the others have
    `terms`, the text of `billing.rules.prices`, in numbers for one unit.
    """

    book_version = models.ForeignKey(PriceBookVersion, models.PROTECT, related_name="prices")
    model = models.CharField(max_length=128, blank=True)  # empty: all, or of the tenant
    meter = models.CharField(max_length=12, blank=True)
    traffic_class = models.CharField(max_length=12, blank=True)  # empty: every class
    # Of GPU time a product, empty: every one. Else a hosted provider, or "hosted": every one;
    # empty: the fleet's own engines.
    runs_on = models.CharField(max_length=120, default="", db_default="", blank=True)
    kind = models.CharField(max_length=10, choices=KINDS, default=Kind.UNIT.value)
    unit_price = models.DecimalField(max_digits=24, decimal_places=12, null=True)  # kind unit
    terms = models.CharField(max_length=1000, blank=True, default="")  # of all other kinds

    class Meta:
        db_table = "price"
        constraints = [
            models.UniqueConstraint(
                fields=["book_version", "model", "meter", "traffic_class", "runs_on"],
                condition=~models.Q(kind="factor"),
                name="price_of_place_once",
            ),
            models.UniqueConstraint(
                fields=["book_version", "model", "meter", "traffic_class"],
                condition=models.Q(kind="factor"),
                name="price_factor_once",
            ),
            models.CheckConstraint(
                condition=models.Q(kind="unit", terms="", unit_price__isnull=False)
                | (~models.Q(kind="unit") & ~models.Q(terms="") & models.Q(unit_price=None)),
                name="price_terms_of_kind",
            ),
            models.CheckConstraint(
                condition=models.Q(unit_price__gte=0), name="price_not_negative"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.model} {self.meter} {self.terms or self.unit_price}"
