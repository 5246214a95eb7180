"""The door of the web process."""

import gc
import os

from django.conf import settings
from django.core.asgi import get_asgi_application
from django.urls import get_resolver

from console.bodies import Bounded

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "console.settings")
application = Bounded(get_asgi_application(), settings.DATA_UPLOAD_MAX_MEMORY_SIZE)
# Load the views now, not in somebody's first request. Then take all that is loaded out of garbage
# collection: it stays as long as the process, and walking it took 0.1 s of somebody's page.
get_resolver().url_patterns  # noqa: B018  # reading it loads them
gc.collect()
gc.freeze()
# What requests leave behind in cycles is young. A full collection walks templates and caches too,
# 0.1 s of whichever page it falls into: one in some 3,000 requests instead of one in 250.
gc.set_threshold(5_000, 10, 20)
