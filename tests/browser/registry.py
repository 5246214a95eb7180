"""Every page that a GET opens, and how to make its address from a scene."""

from collections.abc import Callable
from types import SimpleNamespace

Address = Callable[[SimpleNamespace], str]

PAGES: dict[str, Address] = {
    "approvals": lambda _: "/approvals/",
    "approval": lambda s: f"/approvals/{s.change.pk}/",
}
# GET routes that are no pages: files, JSON, redirects. Each with its reason.
NO_PAGES: dict[str, str] = {}
