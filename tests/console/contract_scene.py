"""An output contract of one service, and rollouts that kept it, broke it and were not asked yet."""

from datetime import datetime

from fleet.models import ContractResult, OutputContract, Rollout
from fleet.rules.contract.answers import Said, judge
from fleet.rules.contract.prompts import read_contract
from tenants.models import User

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
PROMPTS = [
    {
        "name": "knows the capital",
        "kind": "text",
        "prompt": "What is the capital of France? Answer in one word.",
        "contains": ["Paris"],
        "longest": 40,
    },
    {"name": "city as JSON", "kind": "json", "prompt": "Capital of France?", "schema": CITY},
    {"name": "stops counting", "kind": "stop", "prompt": "Count to ten", "stop": ["7"]},
    {
        "name": "asks for the weather",
        "kind": "tool_call",
        "prompt": "What is the weather in Paris?",
        "tool": {"name": "weather", "description": "Weather of a city", "parameters": CITY},
    },
    {"name": "refuses too long", "kind": "too_long"},
]


def answered(text: str = "", reason: str = "stop", **message) -> Said:
    choice = {"message": {"content": text, **message}, "finish_reason": reason}
    return Said(200, {"choices": [choice], "usage": {"prompt_tokens": 21}}, 184.2)


CALL = {"type": "function", "function": {"name": "weather", "arguments": '{"city": "Paris"}'}}
REFUSED = "This model's maximum context length is 4096 tokens. However, you asked for 4097."
GOOD = (
    answered("Paris"),
    answered('{"city": "Paris"}'),
    answered("1, 2, 3, 4, 5, 6, "),
    answered(reason="tool_calls", tool_calls=[CALL]),
    Said(400, {"error": {"message": REFUSED}}, 12.0),
)
BAD = (
    answered("Paris"),
    answered("The capital of France is Paris."),
    answered("1, 2, 3, 4, 5, 6, 7, 8, 9, 10", reason="length"),
    answered("It is sunny in Paris."),
    Said(0, trouble="no answer within 15 s"),
)


def furnish_contracts(rollouts: dict[str, Rollout], olga: User, now: datetime) -> None:
    """Each service that moves has one; the first service has two versions."""
    for name, said in (("analyzing", GOOD), ("rolled_back", BAD), ("waiting", ())):
        rollout = rollouts[name]
        kept = keep(rollout, olga, 1, "What clients of the shop rely on")
        rollout.plan = rollout.plan | {"contract": 1}
        rollout.save(update_fields=["plan"])
        if said:
            store(rollout, kept, said)
    first = rollouts["succeeded"]
    for version, why in ((1, "What clients of the shop rely on"), (2, "Tools are in use now")):
        keep(first, olga, version, why)


def keep(rollout: Rollout, olga: User, version: int, why: str) -> OutputContract:
    return OutputContract.objects.create(
        service=rollout.service, version=version, prompts=PROMPTS, why=why, kept_by=olga
    )


def store(rollout: Rollout, kept: OutputContract, said: tuple[Said, ...]) -> None:
    pod = f"{rollout.service.name}-6c9d8-x7k2p"
    pairs = zip(read_contract(PROMPTS), said, strict=True)
    answers = [judge(prompt, answer, pod).as_json() for prompt, answer in pairs]
    broken = [a for a in answers if a["verdict"] == "fail"]
    why = "Output contract kept: 5 of 5 answers as expected"
    if broken:
        why = f"The output contract is broken by {rollout.to_release}: {broken[0]['why']}"
    ContractResult.objects.create(
        rollout=rollout,
        contract=kept,
        verdict="fail" if broken else "pass",
        why=why,
        answers=answers,
    )
