"""Price books: read, draft, publish; and what GPUs cost us."""

from decimal import Decimal
from typing import Any

from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.actions import prices as actions
from billing.api.filters import CLASSES, METERS
from billing.queries import economics
from billing.queries import prices as queries
from billing.rules.prices import PriceLine
from tenants.api.base.schema import operation
from tenants.api.base.serializers import Strict, TextField
from tenants.api.base.views import ConsoleView


class PriceField(serializers.DecimalField):
    """A price as text: a JSON number would be read as a float somewhere on its way."""

    def __init__(self, **options: Any) -> None:
        super().__init__(24, 12, min_value=Decimal(0), **options)

    def to_internal_value(self, data: Any) -> Decimal:
        if not isinstance(data, str):
            raise serializers.ValidationError('A price as text, as in "0.15"')
        return super().to_internal_value(data)


class PriceIn(Strict):
    model = TextField(max_length=128)
    meter = serializers.ChoiceField(METERS)
    price = PriceField(help_text="For a million tokens, 1,000 requests, or one GPU-second")
    traffic_class = serializers.ChoiceField(
        ("", *CLASSES), required=False, default="", help_text="Empty: every class"
    )


class DraftIn(Strict):
    prices = PriceIn(many=True, allow_empty=False)
    why = TextField(required=False, default="", allow_blank=True, max_length=2000)


class PublishIn(Strict):
    starts_at = serializers.DateTimeField(help_text="On the full hour; the past needs a reason")
    why = TextField(required=False, default="", allow_blank=True, max_length=2000)


class BookIn(Strict):
    slug = serializers.SlugField(max_length=63)
    name = TextField(max_length=120)
    currency = TextField(max_length=3)


class PriceLineOut(serializers.Serializer[Any]):
    model = serializers.CharField()
    meter = serializers.CharField()
    traffic_class = serializers.CharField(allow_blank=True)
    price = serializers.DecimalField(38, 12)
    per = serializers.CharField()
    unit_price = serializers.DecimalField(24, 12)


class VersionOut(serializers.Serializer[Any]):
    number = serializers.IntegerField()
    state = serializers.CharField(help_text="draft, waiting, current, past, replaced")
    starts_at = serializers.DateTimeField(allow_null=True)
    ends_at = serializers.DateTimeField(allow_null=True)
    created_at = serializers.DateTimeField()
    created_by = serializers.CharField()
    published_at = serializers.DateTimeField(allow_null=True)
    published_by = serializers.CharField(allow_blank=True)
    why = serializers.CharField(allow_blank=True)
    prices = PriceLineOut(many=True)


class BookRowOut(serializers.Serializer[Any]):
    slug = serializers.SlugField()
    name = serializers.CharField()
    currency = serializers.CharField()
    version = serializers.IntegerField()


class BookOut(BookRowOut):
    versions = VersionOut(many=True, help_text="Newest first")


class GpuPricesIn(Strict):
    currency = TextField(max_length=3)
    hourly = serializers.DictField(child=PriceField(), help_text="GPU product: price of an hour")
    starts_at = serializers.DateTimeField()
    why = TextField(required=False, default="", allow_blank=True, max_length=2000)


class GpuPriceOut(serializers.Serializer[Any]):
    product = serializers.CharField()
    hourly = serializers.DecimalField(24, 12)


class GpuSheetOut(serializers.Serializer[Any]):
    number = serializers.IntegerField()
    currency = serializers.CharField()
    starts_at = serializers.DateTimeField(source="effective.lower", allow_null=True)
    ends_at = serializers.DateTimeField(source="effective.upper", allow_null=True)
    why = serializers.CharField(allow_blank=True)
    created_by = serializers.CharField()
    prices = GpuPriceOut(many=True, source="prices.all")


class BooksView(ConsoleView):
    @operation("price_books_list", gives=BookRowOut(many=True))
    def get(self, request: Request) -> Response:
        return self.page(queries.list_books(self.viewer), BookRowOut)

    @operation("price_books_create", takes=BookIn, gives=BookOut, status=201)
    def post(self, request: Request) -> Response:
        """Open the one book of a currency."""
        book = actions.create_book(self.viewer, **self.given(BookIn))
        return answered(self, book.slug, 201)


class BookView(ConsoleView):
    @operation("price_books_get", gives=BookOut)
    def get(self, request: Request, slug: str) -> Response:
        return answered(self, slug)


class VersionsView(ConsoleView):
    @operation("price_versions_create", takes=DraftIn, gives=BookOut, status=201, if_match=True)
    def post(self, request: Request, slug: str) -> Response:
        """Draft a complete set of prices; it holds for nothing until it is published."""
        given = self.given(DraftIn)
        actions.draft_version(
            self.viewer,
            slug,
            prices=[PriceLine(**p) for p in given["prices"]],
            why=given["why"],
            expected=self.expected_version(),
        )
        return answered(self, slug, 201)


class PublishView(ConsoleView):
    @operation("price_versions_publish", takes=PublishIn, gives=BookOut, if_match=True)
    def post(self, request: Request, slug: str, number: int) -> Response:
        """Let a draft hold. Hours that were rated at other prices are rated again."""
        given = self.given(PublishIn)
        expected = self.expected_version()
        actions.publish_version(
            self.viewer, slug, number, expected=expected, now=timezone.now(), **given
        )
        return answered(self, slug)


class GpuPricesView(ConsoleView):
    @operation("gpu_prices_list", gives=GpuSheetOut(many=True))
    def get(self, request: Request) -> Response:
        return self.page(economics.list_gpu_prices(self.viewer), GpuSheetOut)

    @operation("gpu_prices_create", takes=GpuPricesIn, gives=GpuSheetOut, status=201)
    def post(self, request: Request) -> Response:
        """Say what an hour of each GPU product costs us from an hour on."""
        given = self.given(GpuPricesIn)
        sheet = actions.set_gpu_prices(self.viewer, now=timezone.now(), **given)
        sheet.refresh_from_db()
        return self.answer(GpuSheetOut(sheet).data, status=201)


def answered(view: ConsoleView, slug: str, status: int = 200) -> Response:
    book = queries.get_book(view.viewer, slug, now=timezone.now())
    return view.answer(BookOut(book).data, etag=book.etag, status=status)
