"""The numbers that the journal's accounts have in the books of the house."""

from dataclasses import dataclass

from billing.models import LedgerAccount
from billing.rules.journal import ACCOUNTS
from billing.rules.ledger import TITLES
from tenants.errors import NotFound
from tenants.rules.access import Permission, Viewer


@dataclass(frozen=True, slots=True)
class Numbered:
    account: str
    title: str
    number: str  # empty: none was given yet
    name: str
    version: int  # 0: none was given yet

    @property
    def etag(self) -> str:
        return f'"{self.account}-{self.version}"'


def list_ledger_accounts(viewer: Viewer) -> list[Numbered]:
    viewer.require(Permission.VIEW_MONEY)
    rows = {row.account: row for row in LedgerAccount.objects.all()}
    return [_numbered(account, rows.get(account)) for account in ACCOUNTS]


def get_ledger_account(viewer: Viewer, account: str) -> Numbered:
    found = next((a for a in list_ledger_accounts(viewer) if a.account == account), None)
    if found is None:
        raise NotFound(f"The journal has no such account; it has {', '.join(ACCOUNTS)}")
    return found


def account_numbers() -> dict[str, tuple[str, str]]:
    rows = LedgerAccount.objects.values_list("account", "number", "name")
    return {account: (number, name) for account, number, name in rows}


def _numbered(account: str, row: LedgerAccount | None) -> Numbered:
    if row is None:
        return Numbered(account, TITLES[account], "", "", 0)
    return Numbered(account, TITLES[account], row.number, row.name, row.version)
