"""The typed name before what cannot be taken back; the browser's check is only a courtesy."""

from django.http import HttpRequest

from tenants.errors import Invalid


def require_typed(request: HttpRequest, name: str) -> None:
    if request.POST.get("typed", "").strip() != name:
        raise Invalid(typed=f"Type the name '{name}' exactly to go on; nothing was changed")
