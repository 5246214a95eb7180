from fleet.models.call import ApprovalCall
from fleet.models.cluster import (
    TAKES_TRAFFIC,
    Cluster,
    GpuInterval,
    GpuTime,
    GpuUnit,
    Node,
    NodeDrift,
    ObservedEvent,
    ObservedPod,
)
from fleet.models.contract import ContractResult, OutputContract
from fleet.models.drift import Drift
from fleet.models.drill import Drill, DrillReport, PodLoss
from fleet.models.freeze import Freeze
from fleet.models.release import ModelVersion, Release
from fleet.models.resolution import Resolution
from fleet.models.rollout import (
    GateResult,
    Rollout,
    RolloutAnswer,
    RolloutCall,
    RolloutEvent,
    RolloutGpuTime,
    StartSample,
)
from fleet.models.rollout_pod import RolloutFetch, RolloutLog, RolloutPod
from fleet.models.scaling import ScalingDecision, ScalingPolicy
from fleet.models.sequence import (
    Placement,
    RolloutSequence,
    SequenceEvent,
    SequenceStage,
)
from fleet.models.service import Deployment, Service
from fleet.models.traffic import (
    AdapterLatencySlot,
    AdapterSlot,
    AdapterUse,
    ApplicationLatencySlot,
    ApplicationSlot,
    EngineProbe,
    EngineSample,
    Finding,
    LatencySlot,
    ShadowLatencySlot,
    ShadowSlot,
    TrafficSlot,
)

__all__ = [
    "AdapterLatencySlot",
    "AdapterSlot",
    "AdapterUse",
    "ApplicationLatencySlot",
    "ApplicationSlot",
    "TAKES_TRAFFIC",
    "ApprovalCall",
    "Cluster",
    "ContractResult",
    "Deployment",
    "Drift",
    "Drill",
    "DrillReport",
    "EngineProbe",
    "EngineSample",
    "Finding",
    "Freeze",
    "GateResult",
    "GpuInterval",
    "GpuTime",
    "GpuUnit",
    "LatencySlot",
    "ModelVersion",
    "Node",
    "NodeDrift",
    "ObservedEvent",
    "ObservedPod",
    "OutputContract",
    "Placement",
    "PodLoss",
    "Release",
    "Resolution",
    "Rollout",
    "RolloutAnswer",
    "RolloutCall",
    "RolloutEvent",
    "RolloutFetch",
    "RolloutGpuTime",
    "RolloutLog",
    "RolloutPod",
    "RolloutSequence",
    "ScalingDecision",
    "ScalingPolicy",
    "SequenceEvent",
    "SequenceStage",
    "Service",
    "ShadowLatencySlot",
    "ShadowSlot",
    "StartSample",
    "TrafficSlot",
]
