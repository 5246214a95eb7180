"""Events that name their tenant and application by slug, as gateways of others do. Pure.

Ids are put in their place, so the digest of an event is the same however it was named.
"""

import json
from collections.abc import Mapping
from typing import Any

from billing.rules.events import Reason, Refused, name_of, once
from billing.rules.texts import is_plain

MARK = b'"tenant"'
Names = tuple[str, str]  # slugs of tenant and application


def names_in(raw: bytes) -> Names | None:
    """The slugs by which an event names its owner; None: it gives ids, or cannot be read.

    A name that no table could be asked for is none: the event is judged without its owner.
    """
    data = _data_of(raw)
    if data is None:
        return None
    tenant, application = data.get("tenant"), data.get("application")
    if isinstance(tenant, str) and isinstance(application, str):
        return (tenant, application) if is_plain(tenant + application) else None
    return None


def with_ids(raw: bytes, names: Names, ids: Mapping[Names, tuple[int, int]]) -> bytes | Refused:
    """The same event by ids. What it leaves out of ours has the value of one that has none."""
    if names not in ids:
        detail = f"There is no tenant {names[0][:63]!r} with an application {names[1][:63]!r} here"
        return Refused(name_of(raw), Reason.UNKNOWN_TENANT, detail, raw)
    try:
        found: dict[str, Any] = json.loads(raw, object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        return Refused(name_of(raw), Reason.BAD_SCHEMA, str(error), raw)
    data = found["data"]
    if given := sorted({"tenant_id", "application_id"} & set(data)):
        detail = f"data.{given[0]} and data.tenant are both there: one of them is enough"
        return Refused(name_of(raw), Reason.BAD_SCHEMA, detail, raw)
    del data["tenant"], data["application"]
    data["tenant_id"], data["application_id"] = ids[names]
    data.setdefault("credential_id", 0)
    data.setdefault("request_id", found.get("id"))
    return json.dumps(found).encode()


def _data_of(raw: bytes) -> dict[str, Any] | None:
    if MARK not in raw:
        return None
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    data = found.get("data") if isinstance(found, dict) else None
    return data if isinstance(data, dict) else None
