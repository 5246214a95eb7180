"""The printed way back: its order, and that it never asks for more GPUs than there are."""

import json
import re
import shlex

import pytest

from fleet.rules.by_hand import Hand, lines_back


def manifest(name):
    labels = {"quartermaster.dev/release": f"rel-{name}"}
    meta = {"name": f"chat-{name}", "namespace": "models", "labels": labels}
    return {"kind": "Deployment", "metadata": meta, "spec": {"template": {"args": ["it's $x"]}}}


def hand(**changes):
    fields = {
        "title": "RO-1", "service": "chat", "new": manifest("new"), "old": manifest("old"),
        "old_label": "r1", "new_label": "r2", "old_wanted": 4, "old_now": 4, "new_now": 1,
        "mix_old": {"": 1}, "mix_new": {"": 1}, "gpu_budget": {"": 5}, "fence": 7,
    }  # fmt: skip
    return Hand(**fields | changes)


def applied(lines):
    """Each apply as name and replicas, read back as a shell would."""
    found = []
    for line in lines:
        if line.startswith("printf"):
            body = json.loads(shlex.split(line)[2])
            found.append((body["metadata"]["name"], body["spec"]["replicas"]))
    return found


def test_traffic_leaves_first_where_the_old_release_can_carry_it():
    lines = [line for line in lines_back(hand()) if not line.startswith("#")]
    assert '"status":"False"' in lines[0]
    assert applied(lines) == [("chat-old", 4)]
    assert lines[-2] == (
        "kubectl -n models delete deployment chat-new --cascade=foreground --ignore-not-found"
    )


def test_new_replicas_make_room_one_by_one_on_a_full_node():
    lines = lines_back(hand(old_wanted=2, old_now=0, new_now=2, gpu_budget={"": 2}))
    assert applied(lines) == [
        ("chat-new", 1), ("chat-old", 1), ("chat-new", 0), ("chat-old", 2),
    ]  # fmt: skip
    text = "\n".join(lines)
    assert text.index('"status":"False"') > text.index("chat-old --timeout")


def test_it_says_when_nothing_will_answer():
    lines = lines_back(hand(old_wanted=1, old_now=0, new_now=1, gpu_budget={"": 1}))
    assert "Nothing answers until" in "\n".join(lines)


def test_a_first_release_is_taken_away():
    lines = lines_back(hand(old=None, old_label=""))
    assert [line.split()[3] for line in lines if not line.startswith("#")] == ["delete"]


@pytest.mark.parametrize("new_now", range(5))
@pytest.mark.parametrize("old_now", range(5))
@pytest.mark.parametrize("gpus_old", [1, 2, 8])
def test_it_ends_at_the_wanted_number_within_the_gpus(old_now, new_now, gpus_old):
    budget = max(4 * gpus_old, old_now * gpus_old + new_now)
    replicas = {"chat-old": old_now, "chat-new": new_now}
    for name, number in applied(
        lines_back(
            hand(old_now=old_now, new_now=new_now, mix_old={"": gpus_old}, gpu_budget={"": budget})
        )
    ):
        replicas[name] = number
        assert replicas["chat-old"] * gpus_old + replicas["chat-new"] <= budget
    assert replicas["chat-old"] == 4
    assert not re.search("None", "\n".join(lines_back(hand())))
