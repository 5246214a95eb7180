"""How an account is billed, and which terms make no sense."""

from dataclasses import dataclass

from billing.rules.currencies import MODES
from billing.rules.invoices import Tax, TaxPer, faults_of_taxes
from tenants.rules.currencies import EXPONENTS
from tenants.rules.zones import zones

LONGEST_TERMS = 365


@dataclass(frozen=True, slots=True)
class AccountTerms:
    """What a person sets."""

    name: str  # whom invoices are addressed to
    currency: str
    rate_source: str  # of exchange rates; needed where prices are in another currency
    time_zone: str
    purchase_order: str
    terms_days: int
    rounding: str
    tax_per: str
    taxes: tuple[Tax, ...]


def faults_of_terms(terms: AccountTerms, rated_in: str) -> dict[str, str]:
    """Sentences by field; empty when the terms can be used. `rated_in`: of the tenant's prices."""
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
                terms.currency not in EXPONENTS,
                f"{terms.currency[:20]!r} is no currency of ISO 4217",
            ),
            (
                "rate_source",
                terms.currency != rated_in and not terms.rate_source.strip(),
                f"Prices are in {rated_in}: name whose rates convert them to {terms.currency[:20]},"
                " as in ECB",
            ),
            ("rate_source", len(terms.rate_source) > 64, "At most 64 characters"),
            (
                "time_zone",
                terms.time_zone not in zones(),
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
