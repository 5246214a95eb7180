"""How an account is billed, and which terms make no sense."""

from dataclasses import dataclass
from zoneinfo import available_timezones

from billing.rules.currencies import MODES
from billing.rules.invoices import Tax, TaxPer, faults_of_taxes

LONGEST_TERMS = 365


@dataclass(frozen=True, slots=True)
class AccountTerms:
    """What a person sets."""

    name: str  # whom invoices are addressed to
    currency: str
    time_zone: str
    purchase_order: str
    terms_days: int
    rounding: str
    tax_per: str
    taxes: tuple[Tax, ...]


def faults_of_terms(terms: AccountTerms, rated_in: str) -> dict[str, str]:
    """Sentences by field; empty when the terms can be used. `rated_in`: the tenant's currency."""
    return {
        field: sentence
        for field, is_wrong, sentence in (
            (
                "name",
                not 0 < len(terms.name.strip()) <= 120,
                "Name whom invoices are addressed to, in at most 120 characters",
            ),
            (
                "currency",
                terms.currency != rated_in,
                f"The tenant is rated in {rated_in}: change the tenant's currency first",
            ),
            (
                "time_zone",
                terms.time_zone not in available_timezones(),
                f"{terms.time_zone[:64]!r} is no IANA time zone",
            ),
            ("purchase_order", len(terms.purchase_order) > 64, "At most 64 characters"),
            (
                "terms_days",
                not 0 <= terms.terms_days <= LONGEST_TERMS,
                f"Between 0 and {LONGEST_TERMS} days",
            ),
            ("rounding", terms.rounding not in MODES, f"One of {', '.join(MODES)}"),
            (
                "tax_per",
                terms.tax_per not in TaxPer.__members__.values(),
                f"One of {', '.join(TaxPer)}",
            ),
            ("taxes", bool(faults_of_taxes(terms.taxes)), faults_of_taxes(terms.taxes)),
        )
        if is_wrong
    }
