"""What a container's log says about its end."""

import contextlib
from pathlib import Path

LINES, SIZE = 80, 2048  # the kubelet's limits for FallbackToLogsOnError


def log_tail(log: Path) -> str:
    """The last lines of a log, as the kubelet puts them into terminated.message."""
    with contextlib.suppress(OSError), log.open("rb") as f:
        f.seek(0, 2)
        f.seek(max(0, f.tell() - SIZE))
        text = f.read().decode(errors="replace")
        return "".join(text.splitlines(keepends=True)[-LINES:])
    return ""
