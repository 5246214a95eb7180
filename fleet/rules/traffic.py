"""What the statistics keep of one request."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class TrafficSample:
    """One request, as gates and degradation need it. Latencies in milliseconds, None: unknown."""

    at: datetime  # when it ended
    tenant_id: int
    service_id: int
    release_id: int  # 0: refused before a release was chosen
    traffic_class: str
    outcome: str
    ttft_ms: float | None = None
    itl_ms: float | None = None
    queue_ms: float | None = None
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
