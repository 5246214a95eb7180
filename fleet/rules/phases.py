"""The closed lists of a rollout: phases, wishes, plans, causes of an abort."""

from enum import StrEnum


class Phase(StrEnum):
    """Written by the machine only."""

    VALIDATING = "validating"
    AWAITING_APPROVAL = "awaiting_approval"
    PREPARING = "preparing"
    CANARY_STARTING = "canary_starting"
    CANARY_VERIFYING = "canary_verifying"
    SHIFTING = "shifting"
    ANALYZING = "analyzing"
    AWAITING_STEP_APPROVAL = "awaiting_step_approval"
    PAUSED = "paused"
    PROMOTING = "promoting"
    SOAKING = "soaking"
    ABORTING = "aborting"
    ROLLING_BACK = "rolling_back"
    ROLLBACK_BLOCKED = "rollback_blocked"  # open: it keeps trying and calls a person
    SUCCEEDED = "succeeded"
    ROLLED_BACK = "rolled_back"
    REJECTED = "rejected"
    EXPIRED = "expired"
    SUPERSEDED = "superseded"
    CANCELLED = "cancelled"  # before the first write to the cluster


FINAL = frozenset(
    {
        Phase.SUCCEEDED,
        Phase.ROLLED_BACK,
        Phase.REJECTED,
        Phase.EXPIRED,
        Phase.SUPERSEDED,
        Phase.CANCELLED,
    }
)
GOING_BACK = frozenset({Phase.ABORTING, Phase.ROLLING_BACK, Phase.ROLLBACK_BLOCKED})
BEFORE_WRITES = frozenset({Phase.VALIDATING, Phase.AWAITING_APPROVAL})


def gate_is_open(phase: Phase, resume_phase: Phase | None) -> bool:
    """Whether a person may answer for the gate of its step: it is judged, or was when it paused."""
    return phase is Phase.ANALYZING or (
        phase is Phase.PAUSED and resume_phase in (None, Phase.ANALYZING)
    )


class Wish(StrEnum):
    """Written by people only."""

    RUN = "run"
    PAUSE = "pause"
    ABORT = "abort"


class PlanKind(StrEnum):
    SURGE_CANARY = "surge_canary"
    BLUE_GREEN = "blue_green"  # all of the new release beside the old one, which is kept warm
    REPLACE = "replace"  # in place: old -1, then new +1
    RECREATE = "recreate"  # all of the old release goes, then all of the new one comes


class Cause(StrEnum):
    """Why a rollout went back, from a closed list; the sentence is in `why`."""

    OPERATOR = "operator"
    CRASH_LOOP = "crash_loop"
    IMAGE_PULL = "image_pull"
    WEIGHTS = "weights"  # of a hub: not brought to where engines look for them
    UNSCHEDULABLE = "unschedulable"
    QUOTA = "quota"
    OUT_OF_MEMORY = "out_of_memory"
    DISK_FULL = "disk_full"  # of a node, or what a pod may use of it
    EVICTED = "evicted"  # again and again, by kubelets
    NEVER_READY = "never_ready"
    WRONG_ANSWER = "wrong_answer"  # fingerprint or probe
    OUTPUT_CONTRACT = "output_contract"  # an answer to a recorded prompt is not as expected
    GATE_FAILED = "gate_failed"
    NOT_SHIFTED = "not_shifted"  # answers do not show the share that was set
    LOST_REPLICAS = "lost_replicas"  # of one that had them
    INVALID = "invalid"  # refused by the API server for good
    OWNERSHIP = "ownership"  # another field manager owns what we must write


class Verdict(StrEnum):
    PASS = "pass"
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"
    ERROR = "error"
