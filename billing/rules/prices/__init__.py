"""Price kinds and price lists.

Begin with `terms.py`: what a price may say. Each kind is one file with the same four functions:
`read` and `say` its text, `fault` of it, and `parts`: a quantity in, what is charged for it out.
`lines.py` judges a whole list, `bounds.py` what its factors make of it, `kinds.py` finds the file
of a kind.
"""

from billing.rules.prices.lines import (
    CURRENCIES,
    LARGEST,
    ON,
    PriceLine,
    fault_of_end,
    fault_of_start,
    faults_of_prices,
    read_line,
    said_place,
)

__all__ = [
    "CURRENCIES",
    "LARGEST",
    "ON",
    "PriceLine",
    "fault_of_end",
    "fault_of_start",
    "faults_of_prices",
    "read_line",
    "said_place",
]
