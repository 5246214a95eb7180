"""Two hours of looks at one service's load: a rise in the morning, and what was ordered for it."""

from datetime import datetime, timedelta

from fleet.models import ScalingDecision, ScalingPolicy, Service

HOURS = [
    {"weekdays": [0, 1, 2, 3, 4], "from_time": "08:00", "to_time": "20:00", "min_replicas": 2,
     "max_replicas": None},
    {"weekdays": [5, 6], "from_time": "00:00", "to_time": "00:00", "min_replicas": None,
     "max_replicas": 4},
]  # fmt: skip
CHANGES = {
    70: (2, 3, 3, "41 requests in flight (38 running, 3 waiting in engines), 4 more a minute, so 56"
         " when a replica has started (4 min 0 s, p95 of 3): 3 replicas at 20 each. 2 → 3"),
    40: (3, 4, 6, "104 requests in flight (60 running, 44 waiting in engines): 6 replicas at 20"
         " each. 6 wanted, 4 given: 4 h200-sxm missing. 3 h200-sxm are free"),
    8: (4, 3, 2, "31 requests in flight (31 running, 0 waiting in engines), at most 34 in the last"
        " 5 min 0 s: that needs 2 replicas. 4 → 3, one at a time"),
}  # fmt: skip


def furnish_scaling(service: Service, now: datetime) -> None:
    ScalingPolicy.objects.create(
        service=service, min_replicas=1, max_replicas=6, target=20, hours=HOURS,
        zone="Europe/Berlin", look_again=now,
    )  # fmt: skip
    given = 2
    for minutes in range(120, -1, -1):
        declared, given, wanted, why = CHANGES.get(
            minutes, (given, given, given, "Enough: 31 requests in flight, 52% of what that takes")
        )
        demand = 30.0 + max(0, 75 - abs(minutes - 40) * 3)
        ScalingDecision.objects.create(
            service=service, at=now - timedelta(minutes=minutes, seconds=4), queued=0.0,
            running=min(demand, 20.0 * declared), waiting=max(demand - 20.0 * declared, 0.0),
            demand=demand, forecast=demand, target=20, serving=declared, declared=declared,
            wanted=wanted, given=given, changed=declared != given, why=why,
        )  # fmt: skip
