"""What the engines of a namespace in memory answer, each as its release behaves."""

from fleet.rules.contract.answers import Said
from fleet.rules.manifests import RELEASE
from fleet.rules.verify import PASSES, TOKENS, Answers


class FakeEngines:
    """A part of `FakeWorkloads`, whose pods they are."""

    def ask(self, address, service):
        pod = next(p for p in self.pods.values() if address.split(":")[0] == p["status"]["podIP"])
        release = pod["metadata"]["labels"][RELEASE]
        behaviour = self._behaviour(pod)
        if behaviour == "hangs" or self.dark:
            return Answers(trouble="no answer within 8 s")
        said = "rel-ffffffffffff" if behaviour == "wrong_fingerprint" else release
        tokens = 1 if behaviour == "short_answers" else TOKENS
        return Answers(
            models=(service, *self.adapters),
            max_model_len=1_000_000,
            version="0.32.0",
            fingerprints=(said,) * PASSES,
            tokens=(tokens,) * PASSES,
            reasons=("length" if tokens == TOKENS else "stop",) * PASSES,
            prompt_tokens=PASSES,
        )

    def ask_pair(self, prefill, decode, service):
        """With blocks of a peer: refused where that is of another release."""
        domains = {
            p["metadata"]["labels"][RELEASE]
            for p in self.pods.values()
            if p["status"]["podIP"] in (prefill.split(":")[0], decode.split(":")[0])
        }
        if len(domains) > 1:
            return Answers(trouble="answered 500 to /v1/completions")
        return self.ask(decode, service)

    def put(self, address, service, prompt):
        """A recorded prompt: JSON to whoever asks for it, "hello" to everybody else."""
        self._reach("put", address, prompt.name)
        pod = next(p for p in self.pods.values() if address.split(":")[0] == p["status"]["podIP"])
        behaviour = self.behaviours.get(pod["metadata"]["labels"][RELEASE], "good")
        if behaviour == "mute":
            return Said(0, trouble="no answer within 15 s")
        if behaviour == "fails_prompts":
            return Said(500, {"error": {"message": "EngineCore encountered an issue"}})
        text = '{"city": "Paris"}' if prompt.kind == "json" else "hello"
        text = "goodbye" if behaviour == "breaks_contract" else text
        choice = {"message": {"content": text}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 5, "completion_tokens": 2}
        return Said(200, {"choices": [choice], "usage": usage}, 12.0)
