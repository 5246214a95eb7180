"""The browser console and the root of all URLs.

Owns: settings, root URLs, pages, charts, forms, the shell, access (viewer and scope of a request).
Does not own: tables or decisions; it calls `queries` and `actions` of the apps.
May import: billing, fleet and tenants by their open modules.
Start reading at `access.py`, then `views/`.
"""

from console.celery import app as celery_app

__all__ = ["celery_app"]
