"""Routes of the pages, one module an area. `page` is how each of them is made."""

from collections.abc import Callable

from django.contrib.auth.decorators import login_required
from django.http import HttpResponseBase
from django.urls import URLPattern, path


def page(route: str, view: Callable[..., HttpResponseBase], name: str) -> URLPattern:
    """A page for people who signed in; others are sent to the sign-in page and back again."""
    return path(route, login_required(view), name=name)
