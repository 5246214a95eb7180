"""How old an observation may be before it no longer counts as one."""

from datetime import datetime, timedelta

STALE = timedelta(seconds=15)
LOST = timedelta(seconds=60)  # a shorter silence is a restart of the observer or the API server


def stale_because(observed_at: datetime | None, trouble: str, now: datetime) -> str:
    """Empty while the observation counts; else the sentence that says why it does not."""
    if observed_at is None:
        return trouble or "It has not been observed yet"
    age = now - observed_at
    if age <= STALE:
        return ""
    told = f"Last observed {in_words(age)} ago"
    return f"{told}: {trouble}" if trouble else f"{told}: the observer does not run"


def lost_because(observed_at: datetime | None, trouble: str, now: datetime) -> str:
    """Empty until nothing was seen of a cluster for a minute."""
    if observed_at is not None and now - observed_at <= LOST:
        return ""
    return stale_because(observed_at, trouble, now)


def in_words(age: timedelta) -> str:
    seconds = round(age.total_seconds())
    if seconds < 120:
        return f"{seconds} s"
    minutes = seconds // 60
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h"
