"""Price books: read, draft, publish. What GPUs cost us is in `node_prices`."""

from decimal import Decimal
from typing import Any

from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.actions import contracts, publication
from billing.actions import previews as preview_actions
from billing.actions import prices as actions
from billing.api.filters import CLASSES, tenant_id_of
from billing.queries import preview as previews
from billing.queries import prices as queries
from billing.rules.meters import Meter
from billing.rules.prices import PriceLine, read_line
from tenants.api.base.schema import operation
from tenants.api.base.serializers import Strict, TextField
from tenants.api.base.views import ConsoleView
from tenants.errors import Invalid, NotFound
from tenants.queries.directory import tenant_refs


class PriceField(serializers.DecimalField):
    """A price as text: a JSON number would be read as a float somewhere on its way."""

    def __init__(self, **options: Any) -> None:
        super().__init__(24, 12, min_value=Decimal(0), **options)

    def to_internal_value(self, data: Any) -> Decimal:
        if not isinstance(data, str):
            raise serializers.ValidationError('A price as text, as in "0.15"')
        return super().to_internal_value(data)


RUNS_ON = (
    "Of GPU time a product, empty: every one. Else a hosted provider, or `hosted`: any of them;"
    " empty: the fleet's own engines, whose price never holds for a provider"
)
IN_A_LINE = ("model", "meter", "price", "traffic_class", "runs_on")


class PriceIn(Strict):
    model = TextField(
        max_length=128, allow_blank=True, help_text="Empty: of a factor all, of a fee the tenant"
    )
    meter = serializers.ChoiceField(
        ("", *(m.value for m in Meter)), help_text="Empty: of a factor all"
    )
    price = TextField(
        max_length=900,
        help_text="For a million tokens, 1,000 requests, or one GPU-second: 0.15; "
        "tiered 10000000:0.50 rest:0.30; volume 10000000:0.50 rest:0.30; package 1000000:2.00; "
        "flat 500; commitment 10000; factor 0.5; factor Europe/Berlin mon-fri@22-6:0.5",
    )
    traffic_class = serializers.ChoiceField(
        ("", *CLASSES), required=False, default="", help_text="Empty: every class"
    )
    runs_on = TextField(
        max_length=120, required=False, default="", allow_blank=True, help_text=RUNS_ON
    )


class DraftIn(Strict):
    prices = PriceIn(many=True, allow_empty=False)
    why = TextField(required=False, default="", allow_blank=True, max_length=2000)


class ProposeIn(Strict):
    starts_at = serializers.DateTimeField(help_text="On the full hour; the past needs a reason")
    ends_at = serializers.DateTimeField(
        required=False, allow_null=True, default=None, help_text="Of a contract; not part of it"
    )
    why = TextField(required=False, default="", allow_blank=True, max_length=2000)


class BookIn(Strict):
    slug = serializers.SlugField(max_length=63)
    name = TextField(max_length=120)
    currency = TextField(max_length=3)


class ContractIn(Strict):
    tenant = serializers.SlugField(max_length=63)


class PriceLineOut(serializers.Serializer[Any]):
    model = serializers.CharField(allow_blank=True)
    meter = serializers.CharField(allow_blank=True)
    traffic_class = serializers.CharField(allow_blank=True)
    runs_on = serializers.CharField(allow_blank=True, help_text=RUNS_ON)
    kind = serializers.CharField()
    text = serializers.CharField(help_text="As it is written in a draft")
    price = serializers.DecimalField(38, 12, allow_null=True, help_text="Of the kind unit")
    per = serializers.CharField()
    unit_price = serializers.DecimalField(24, 12, allow_null=True)


class VersionOut(serializers.Serializer[Any]):
    number = serializers.IntegerField()
    state = serializers.CharField(help_text="draft, proposed, waiting, current, past, replaced")
    starts_at = serializers.DateTimeField(allow_null=True)
    ends_at = serializers.DateTimeField(allow_null=True)
    created_at = serializers.DateTimeField()
    created_by = serializers.CharField()
    published_at = serializers.DateTimeField(allow_null=True)
    published_by = serializers.CharField(allow_blank=True)
    why = serializers.CharField(allow_blank=True)
    change_id = serializers.IntegerField(allow_null=True, help_text="The request to publish it")
    prices = PriceLineOut(many=True)


class BookRowOut(serializers.Serializer[Any]):
    slug = serializers.SlugField()
    name = serializers.CharField()
    currency = serializers.CharField()
    tenant_id = serializers.IntegerField(allow_null=True, help_text="Of a contract")
    version = serializers.IntegerField()


class BookOut(BookRowOut):
    versions = VersionOut(many=True, help_text="Newest first")


class PreviewLineOut(serializers.Serializer[Any]):
    tenant = serializers.CharField()
    old = serializers.DecimalField(38, 12)
    new = serializers.DecimalField(38, 12)
    difference = serializers.DecimalField(38, 12)
    unpriced_before = serializers.IntegerField()
    unpriced = serializers.IntegerField(help_text="Rows of usage that it gives no price")


class PreviewOut(serializers.Serializer[Any]):
    month = serializers.CharField()
    currency = serializers.CharField()
    state = serializers.CharField(help_text="waiting, done")
    tenants = serializers.IntegerField()
    tenants_done = serializers.IntegerField(help_text="Those that `lines` are of so far")
    is_current = serializers.BooleanField(
        help_text="False: the prices changed since, or another month is the last one now"
    )
    requested_by = serializers.CharField()
    requested_at = serializers.DateTimeField()
    finished_at = serializers.DateTimeField(allow_null=True)
    old = serializers.DecimalField(38, 12)
    new = serializers.DecimalField(38, 12)
    difference = serializers.DecimalField(38, 12)
    unpriced = serializers.IntegerField()
    lines = PreviewLineOut(many=True)


class PriceDifferenceOut(serializers.Serializer[Any]):
    model = serializers.CharField(source="price.model", allow_blank=True)
    meter = serializers.CharField(source="price.meter", allow_blank=True)
    traffic_class = serializers.CharField(source="price.traffic_class", allow_blank=True)
    runs_on = serializers.CharField(source="price.runs_on", allow_blank=True)
    per = serializers.CharField(source="price.per")
    was = serializers.CharField(allow_null=True)
    will = serializers.CharField(allow_null=True)
    change = serializers.CharField(help_text="same, new, gone, dearer, cheaper, other")


class DifferencesOut(serializers.Serializer[Any]):
    lines = PriceDifferenceOut(many=True)


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
            prices=lines_in(given["prices"]),
            why=given["why"],
            expected=self.expected_version(of=queries.find_book(self.viewer, slug).pk),
        )
        return answered(self, slug, 201)


class VersionView(ConsoleView):
    @operation("price_versions_put", takes=DraftIn, gives=BookOut, if_match=True)
    def put(self, request: Request, slug: str, number: int) -> Response:
        """Write a draft anew. A published version never changes."""
        given = self.given(DraftIn)
        actions.edit_draft(
            self.viewer,
            slug,
            number,
            prices=lines_in(given["prices"]),
            why=given["why"],
            expected=self.expected_version(of=queries.find_book(self.viewer, slug).pk),
        )
        return answered(self, slug)


class ProposeView(ConsoleView):
    @operation("price_versions_propose", takes=ProposeIn, gives=BookOut, if_match=True)
    def post(self, request: Request, slug: str, number: int) -> Response:
        """Ask an approver to let a draft hold; see `change_id` among the approvals."""
        given = self.given(ProposeIn)
        expected = self.expected_version(of=queries.find_book(self.viewer, slug).pk)
        publication.propose_version(
            self.viewer, slug, number, expected=expected, now=timezone.now(), **given
        )
        return answered(self, slug)


class PreviewView(ConsoleView):
    @operation("price_versions_preview", gives=PreviewOut)
    def get(self, request: Request, slug: str, number: int) -> Response:
        """Last month's usage of every tenant at the prices that held, and at these."""
        return self.answer(PreviewOut(self._find(slug, number)).data)

    @operation("price_versions_preview_create", gives=PreviewOut, status=202)
    def post(self, request: Request, slug: str, number: int) -> Response:
        """Ask for a preview; a large fleet takes a minute, see its `state`."""
        preview_actions.request_preview(self.viewer, slug, number, now=timezone.now())
        return self.answer(PreviewOut(self._find(slug, number)).data, status=202)

    def _find(self, slug: str, number: int) -> previews.Preview:
        found = previews.find_preview(self.viewer, slug, number, now=timezone.now())
        if found is None:
            raise NotFound(f"Nobody asked for a preview of {slug} v{number}: POST here asks")
        return found


class DifferencesView(ConsoleView):
    @operation("price_versions_diff", gives=DifferencesOut)
    def get(self, request: Request, slug: str, number: int, other: int) -> Response:
        """The prices of a version beside those of an older one."""
        book = queries.get_book(self.viewer, slug, now=timezone.now())
        lines = queries.differences(book.find(other), book.find(number))
        return self.answer(DifferencesOut({"lines": lines}).data)


class ContractsView(ConsoleView):
    @operation("contracts_create", takes=ContractIn, gives=BookOut, status=201)
    def post(self, request: Request) -> Response:
        """Open the contract of a tenant: a book whose prices come before the list's."""
        pk = tenant_id_of(self.given(ContractIn)["tenant"])
        book = contracts.create_contract(self.viewer, tenant_refs([pk])[pk])
        return answered(self, book.slug, 201)


def lines_in(given: list[dict[str, Any]]) -> list[PriceLine]:
    found, faults = [], {}
    for index, p in enumerate(given):
        try:
            found.append(read_line(*(p[name] for name in IN_A_LINE)))
        except ValueError as error:
            faults[f"prices/{index}"] = str(error)
    if faults:
        raise Invalid(**faults)
    return found


def answered(view: ConsoleView, slug: str, status: int = 200) -> Response:
    book = queries.get_book(view.viewer, slug, now=timezone.now())
    return view.answer(BookOut(book).data, etag=book.etag, status=status)
