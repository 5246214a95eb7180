"""Which numbers a plan lacks, and what it counts with instead. Pure."""

from fleet.rules.situation import Situation, Starts


def unmeasured(s: Situation) -> tuple[str, ...]:
    found = [missing_start("new", s.starts_new)]
    if s.old_replicas:
        found.append(missing_start("old", s.starts_old))
    if s.quotas is None:
        found.append("quota of the namespace: it could not be read")
    if s.queue_unread:
        found.append("quota of the Kueue queue: the account may not read it")
    if s.old_replicas and s.peak and s.peak.in_flight is None:
        found.append("replicas that the peak needs: no engine told what it had in flight")
    return tuple(filter(None, found))


def missing_start(which: str, starts: Starts) -> str:
    """Empty: starts like the next one were measured."""
    if starts.samples and not starts.borrowed and not starts.instead:
        return ""
    where = f" on {starts.expected}" if starts.expected else ""
    said = f"cold start of the {which} release{where}: 0 starts seen"
    if not starts.samples:
        return said
    count = "1 start" if starts.samples == 1 else f"{starts.samples} starts"
    return f"{said}; in its place: {starts.instead or f'{count} of {starts.of}'}"
