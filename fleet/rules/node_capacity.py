"""How a node is paid for and which pool it belongs to, as its labels tell. Pure.

Our own labels come first: hardware that we own has no other. A node that says nothing is
`on_demand`: nobody would call it cheaper than that without a reason.
"""

from collections.abc import Mapping

from fleet.rules.pods import PREFIX

ON_DEMAND, RESERVED, SPOT, OWNED = "on_demand", "reserved", "spot", "owned"
CAPACITY = f"{PREFIX}/capacity"
POOL = f"{PREFIX}/node-pool"
# Label -> its values, lower case and with underscores, and what each means.
SAID = {
    CAPACITY: {one: one for one in (ON_DEMAND, RESERVED, SPOT, OWNED)},
    "karpenter.sh/capacity-type": {one: one for one in (ON_DEMAND, SPOT, RESERVED)},
    "eks.amazonaws.com/capacityType": {
        "on_demand": ON_DEMAND,
        "spot": SPOT,
        "capacity_block": RESERVED,
    },
    "cloud.google.com/gke-spot": {"true": SPOT},
    "cloud.google.com/gke-preemptible": {"true": SPOT},
    "kubernetes.azure.com/scalesetpriority": {"spot": SPOT, "regular": ON_DEMAND},
}
RESERVATION = "cloud.google.com/reservation-name"  # whatever its value
POOLS = (
    POOL,
    "karpenter.sh/nodepool",
    "eks.amazonaws.com/nodegroup",
    "cloud.google.com/gke-nodepool",
    "kubernetes.azure.com/agentpool",
)


def capacity_of(labels: Mapping[str, str]) -> str:
    """The first label that says something we know."""
    for label, values in SAID.items():
        if found := values.get(labels.get(label, "").lower().replace("-", "_")):
            return found
    return RESERVED if labels.get(RESERVATION) else ON_DEMAND


def pool_of(labels: Mapping[str, str]) -> str:
    """Empty: its labels name none."""
    return next((labels[label] for label in POOLS if labels.get(label)), "")
