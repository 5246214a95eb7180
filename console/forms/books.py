"""Forms of accounts, payments and credit notes. They parse; actions decide what is allowed."""

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from django import forms

from billing.actions.credits import Given
from billing.queries.invoices import LineOut
from billing.rules.documents import amount_text
from billing.rules.grants import LAST_PRIORITY, GrantTerms, Scope
from billing.rules.invoices import Tax
from billing.rules.meters import SALES, Meter
from console.forms.money import HOUR_FORMATS

ROUNDING = (("HALF_EVEN", "Half to even"), ("HALF_UP", "Half up"))
PLAIN_TERMS = ("name", "amount", "currency", "paid", "reference", "priority", "expires_at")
TAX_PER = (("invoice", "Once for the invoice"), ("line", "For each line"))


class AccountForm(forms.Form):
    name = forms.CharField(label="Name", max_length=120, help_text="Whom invoices are addressed to")
    currency = forms.CharField(label="Currency", max_length=3, help_text="Of its invoices")
    rate_source = forms.CharField(
        label="Source of exchange rates",
        max_length=64,
        required=False,
        help_text="As in ECB. Needed where the prices are in another currency",
    )
    time_zone = forms.CharField(
        label="Time zone (IANA)", max_length=64, help_text="Cuts months from the next period on"
    )
    purchase_order = forms.CharField(label="Purchase order", max_length=64, required=False)
    terms_days = forms.IntegerField(label="Days until payment is due", min_value=0, max_value=365)
    rounding = forms.ChoiceField(label="Rounding of a line", choices=ROUNDING)
    tax_per = forms.ChoiceField(label="Tax is reckoned", choices=TAX_PER)
    taxes = forms.CharField(
        label="Taxes, one a line",
        required=False,
        widget=forms.Textarea(attrs={"rows": 3, "spellcheck": "false", "class": "mono"}),
        help_text="Name, rate as a part: VAT, 0.19. Empty: no tax",
    )
    version = forms.IntegerField(widget=forms.HiddenInput)

    def clean_taxes(self) -> tuple[Tax, ...]:
        lines = [line for line in self.cleaned_data["taxes"].splitlines() if line.strip()]
        return tuple(read_tax(number, line) for number, line in enumerate(lines, start=1))


def read_tax(number: int, line: str) -> Tax:
    name, comma, rate = line.rpartition(",")
    if name.rpartition(",")[2].strip().isdecimal():  # VAT, 0,1 would be a tax of 100 %
        raise forms.ValidationError(f"Line {number}: write the rate with a point, as in VAT, 0.19")
    try:
        return Tax(name.strip(), Decimal(rate.strip()))
    except InvalidOperation as error:
        said = f"Line {number}: write a name, a comma and a rate, as in VAT, 0.19"
        raise forms.ValidationError(said) from error


def taxes_text(taxes: Sequence[Tax]) -> str:
    return "\n".join(f"{t.name}, {t.rate:f}" for t in taxes)


class PaymentForm(forms.Form):
    amount = forms.DecimalField(label="Amount", max_digits=24, decimal_places=4)
    currency = forms.CharField(label="Currency", max_length=3)
    reference = forms.CharField(
        label="Reference", max_length=64, help_text="Of the transfer. It stands in the books once"
    )


class GrantForm(forms.Form):
    """A credit to ask for. Empty service or meter: every one."""

    name = forms.CharField(label="Name", max_length=120, help_text="As the invoice shall show it")
    amount = forms.DecimalField(label="Amount", max_digits=24, decimal_places=4)
    currency = forms.CharField(label="Currency", max_length=3, help_text="The account's")
    paid = forms.BooleanField(
        label="Prepaid: the customer paid for it", required=False, help_text="Else a promotion"
    )
    reference = forms.CharField(
        label="Reference of the payment", max_length=64, required=False, help_text="If prepaid"
    )
    priority = forms.IntegerField(
        label="Priority", min_value=1, max_value=LAST_PRIORITY, help_text="1 is used first"
    )
    model = forms.CharField(
        label="Service", max_length=128, required=False, help_text="Empty: every service"
    )
    meter = forms.ChoiceField(
        label="Meter",
        required=False,
        choices=[("", "Every meter"), *((m.value, SALES[m].label) for m in Meter)],
    )
    expires_at = forms.DateTimeField(
        label="Expires at (UTC)",
        required=False,
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}),
        input_formats=HOUR_FORMATS,
        help_text="It pays on invoices issued before that. Empty: never",
    )
    why = forms.CharField(
        label="Why", max_length=2000, help_text="The approver and the audit read this"
    )

    def clean_expires_at(self) -> datetime | None:
        found: datetime | None = self.cleaned_data["expires_at"]
        return found.replace(tzinfo=UTC) if found else None

    def terms(self) -> GrantTerms:
        given = {name: self.cleaned_data[name] for name in PLAIN_TERMS}
        scope = Scope(self.cleaned_data["model"], self.cleaned_data["meter"])
        return GrantTerms(scope=scope, **given)


class CreditForm(forms.Form):
    """One amount for each line of the invoice that something remains of."""

    why = forms.CharField(
        label="Why", max_length=2000, help_text="The customer reads this on the credit note"
    )

    def __init__(self, *args: Any, lines: Sequence[LineOut], currency: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._positions = [line.row.position for line in lines]
        for line in lines:
            self.fields[f"line_{line.row.position}"] = forms.DecimalField(
                label=f"Line {line.row.position}: {line.row.name}",
                required=False,
                max_digits=24,
                decimal_places=4,
                help_text=f"At most {amount_text(line.remains, currency)} {currency}, before tax",
            )

    def given(self) -> list[Given]:
        amounts = [(p, self.cleaned_data.get(f"line_{p}")) for p in self._positions]
        return [Given(p, amount) for p, amount in amounts if amount is not None]
