"""Forms that make a secret are sent once: going back and sending again makes no second one."""

import secrets

from django.http import HttpResponse
from django.shortcuts import render

from console.access import ViewerRequest
from tenants.actions.idempotency import Claim, claim_key, keep_answer
from tenants.errors import Conflict


def new_ticket() -> str:
    """The hidden field `once` of a form."""
    return secrets.token_urlsafe(12)


def use_ticket(request: ViewerRequest) -> Claim:
    """Claim the form's ticket, or refuse a second time. A refused form may be sent again."""
    ticket = request.POST.get("once", "")
    claim = claim_key(request.viewer, f"page:{ticket}"[:200], f"POST {request.path}"[:64])
    if not ticket or claim.answer is not None:
        raise Conflict(
            "This form was used already. The secret was shown then and cannot be shown again:"
            " revoke it and make another if nobody kept it"
        )
    return claim


def show_secret(
    request: ViewerRequest,
    claim: Claim,
    *,
    title: str,
    secret: str,
    note: str,
    back: str,
    kept: str = "",
) -> HttpResponse:
    """Show `secret` this one time. Nothing on the way keeps it; `kept` says what the tables have
    of it, where that is more than a digest."""
    keep_answer(claim, 200, None)
    context = {"title": title, "secret": secret, "note": note, "back": back, "kept": kept}
    response = render(request, "account/secret.html", context)
    response["Cache-Control"] = "no-store"
    return response
