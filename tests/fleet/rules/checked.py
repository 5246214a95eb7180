"""A walk that checks at every pass what a rollout promises."""

from fleet.rules.manifests import RELEASE
from fleet.rules.phases import FINAL, GOING_BACK, Phase, Wish, gate_is_open
from fleet.rules.settling import CONFIRM, WINDOW
from fleet.rules.state import moment
from tests.fleet.rules.walk import Walk

UNVERIFIED = {Phase.VALIDATING, Phase.AWAITING_APPROVAL, Phase.PREPARING, Phase.CANARY_STARTING}
WITH_TRAFFIC = {
    Phase.SHIFTING, Phase.ANALYZING, Phase.AWAITING_STEP_APPROVAL, Phase.PROMOTING, Phase.SOAKING,
    Phase.SUCCEEDED,
}  # fmt: skip
AFTER_A_GATE = {Phase.SHIFTING, Phase.PROMOTING, Phase.AWAITING_STEP_APPROVAL}


class Checked(Walk):
    """Checks the promises after every pass."""

    gone = 0  # GPUs that were lost

    def step(self, seconds=5):
        # What was given up in an earlier pass, while there was enough, is no capacity any more.
        before = {k: min(self.serving(k), self.wanted(k)) for k in self.names}
        was, wanted = self.state, self.wanted("new") if self.serves("new") else 0
        even, loses = self.is_even(), self.cluster.loses
        carries = was.has_old and self.serving("old") >= was.old_replicas
        serving = self.serving("new")
        decision = super().step(seconds=0)
        if even and loses == self.cluster.loses:
            assert self.is_even(), f"roles apart by our own act: {self.state.why}"
        self.check_drain(was, wanted)
        self.check_order(was, decision, heard=loses == self.cluster.loses)
        self.check_capacity(before)
        self.check_people(was, decision)
        self.check_abort(was, decision, carries)
        self.check_success(was, decision, serving)
        self.cluster.tick(seconds)
        return decision

    def is_even(self):
        """Whole replicas of each release; of one that leaves, prefill goes before decode."""
        return all(self.are_even(which) for which in self.names)

    def are_even(self, which):
        replicas = self.replicas(which)
        return len(set(replicas.values())) <= 1 or not replicas.get("prefill")

    def check_capacity(self, before):
        """Never below the minimum by our own act. Wrong answers are worse than none.

        What fell silent with its node in the very pass is not our act.
        """
        after = sum(min(max(self.serving(k), before.get(k, 0)), self.wanted(k)) for k in self.names)
        assert after >= min(sum(before.values()), self.state.min_replicas), self.state.why

    def wanted(self, which):
        found = self.replicas(which)
        return min(found.values()) if len(found) == len(self.of(which)) else 0

    def check_drain(self, was, wanted):
        """Replicas that had traffic go when gateways know, or do not say so for long; the end is
        told after a window without traffic.
        """
        shifted = moment(was.memory.shifted_at)
        going = was.phase in GOING_BACK and self.wanted("new") < wanted
        if going and shifted and not self.cluster.down:
            assert self.applied == self.routing or self.now - shifted >= CONFIRM, self.state.why
        if self.state.phase is Phase.ROLLED_BACK and self.state.new_left:
            assert self.now - self.state.new_left >= WINDOW

    def serves(self, which):
        return self.serving(which) > 0

    def check_order(self, was, decision, heard):
        """`heard`: no answer of the cluster was lost in this pass; otherwise it is made again."""
        assert self.state.weight_old + self.state.weight_new in (0, 100)
        assert decision.why
        assert (decision.look_again is None) == (decision.phase in FINAL)
        if was.phase in GOING_BACK:
            assert decision.phase in GOING_BACK | {Phase.ROLLED_BACK}
        if was.wish is Wish.ABORT and heard:
            assert decision.phase in GOING_BACK | FINAL
        if was.shadow and decision.phase not in GOING_BACK:
            assert self.state.weight_new == 0

    def held(self):
        return self.cluster.used()

    def check_people(self, was, decision):
        """Nothing passes by what verifies it; a pause is left for what somebody asked."""
        assert not (was.phase in UNVERIFIED and decision.phase in WITH_TRAFFIC), decision.why
        if was.phase is not Phase.PAUSED or decision.phase in {Phase.PAUSED} | GOING_BACK | FINAL:
            return
        skips = was.skip_step == was.step and gate_is_open(was.phase, was.resume_phase)
        asked = was.wish_at is not None and was.wish_at >= was.phase_since
        goes_on = asked and decision.phase is (was.resume_phase or Phase.ANALYZING)
        assert goes_on or (skips and decision.phase in AFTER_A_GATE), decision.why

    def check_abort(self, was, decision, carries):
        """`carries`: the old release had all its replicas. Whatever the cluster refuses."""
        begins = was.phase not in GOING_BACK and self.state.phase in GOING_BACK
        if begins and carries:
            assert self.state.weight_new == 0, decision.why
        if self.state.phase in GOING_BACK and was.has_old and not self.state.weight_new:
            admitted = [self.cluster.pods.get(uid) for uid in decision.admit]
            left = [
                p for p in admitted if p and p["metadata"]["labels"][RELEASE] == self.names["new"]
            ]
            assert not left, "what traffic has left takes replicas in"

    def check_success(self, was, decision, serving):
        """What nobody could judge, or nothing answers for, is none."""
        if was.phase is Phase.SOAKING and was.soak and was.declared_old > self.state.declared_old:
            assert (self.counted and not self.late) or decision.phase in GOING_BACK, decision.why
        if decision.phase is Phase.SUCCEEDED and was.phase not in FINAL:
            assert serving > 0, decision.why
