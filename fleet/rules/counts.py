"""Numbers of things, as a sentence says them. Pure."""


def counted(count: int, what: str) -> str:
    """ "1 request", "1,204 requests", "no request"."""
    return f"{count:,} {what}{'s' * (count != 1)}" if count else f"no {what}"
