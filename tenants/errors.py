"""Every refusal that a person may see. The code is for machines, the sentence is for people.

A sentence says which number is missing and what to do next. "Never" and "not now" differ.
"""


class ConsoleError(Exception):
    """Base of all refusals. `detail` goes into the problem document as extra members."""

    code = "error"
    status = 400

    def __init__(self, message: str, **detail: object) -> None:
        super().__init__(message)
        self.message = message
        self.detail = detail


class Invalid(ConsoleError):
    """Some fields are wrong: `fields` maps their names to sentences."""

    code = "invalid"
    status = 422

    def __init__(self, message: str = "", **fields: str) -> None:
        super().__init__(message or "; ".join(fields.values()))
        self.fields = fields


class NotFound(ConsoleError):
    """Absent, or not visible to who asks: a stranger cannot tell the two apart."""

    code = "not_found"
    status = 404


class Forbidden(ConsoleError):
    """Visible, but the role does not allow the act."""

    code = "forbidden"
    status = 403


class Conflict(ConsoleError):
    """Not now: the object's state does not allow the act."""

    code = "conflict"
    status = 409


class Stale(ConsoleError):
    """Somebody else changed the object since it was read."""

    code = "stale"
    status = 412


class PreconditionRequired(ConsoleError):
    code = "precondition_required"
    status = 428


class QuotaExceeded(ConsoleError):
    code = "quota_exceeded"
    status = 409


class TooManyRequests(ConsoleError):
    """Not now: the caller is too fast. After `wait` seconds the same request is answered."""

    code = "too_many_requests"
    status = 429

    def __init__(self, message: str, *, wait: int) -> None:
        super().__init__(message)
        self.wait = wait


class Unavailable(ConsoleError):
    """Something that this needs does not answer now; trying again helps."""

    code = "unavailable"
    status = 503
