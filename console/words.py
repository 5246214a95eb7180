"""Status words of all pages: each is an icon, a colour and a word, always all three.

Unknown is a word of its own: grey, never green.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Word:
    tone: str  # ok, warn, bad, info, mute
    icon: str
    text: str


UNKNOWN = Word("mute", "circle-dashed", "Unknown")


def _moving(text: str) -> Word:
    return Word("info", "progress", text)


def _over(text: str) -> Word:
    return Word("mute", "circle-minus", text)


WORDS: dict[str, dict[str, Word]] = {
    "phase": {
        "draft": _over("Draft"),
        "proposed": Word("warn", "user-check", "Proposed"),
        "awaiting_approval": Word("warn", "user-check", "Awaiting approval"),
        "awaiting_step_approval": Word("warn", "user-check", "Step awaits approval"),
        "approved": _moving("Approved"),
        "queued": Word("mute", "clock", "Queued"),
        "validating": _moving("Validating"),
        "preparing": _moving("Preparing"),
        "prepared": _moving("Prepared"),
        "canary_starting": _moving("Canary starting"),
        "starting": _moving("Starting"),
        "verifying": _moving("Verifying"),
        "canary_verifying": _moving("Verifying"),
        "shifting": _moving("Shifting traffic"),
        "analyzing": _moving("Analyzing"),
        "scaling": _moving("Scaling"),
        "promoting": _moving("Promoting"),
        "soaking": _moving("Soaking"),
        "cleaning": _moving("Cleaning up"),
        "draining": _moving("Draining"),
        "finishing": _moving("Finishing"),
        "aborting": _moving("Aborting"),
        "rolling_back": _moving("Rolling back"),
        "running": _moving("Running"),
        "paused": Word("mute", "player-pause", "Paused"),
        "succeeded": Word("ok", "circle-check", "Succeeded"),
        "rolled_back": Word("warn", "arrow-back-up", "Rolled back"),
        "rollback_blocked": Word("bad", "alert-octagon", "Rollback blocked"),
        "failed": Word("bad", "circle-x", "Failed"),
        "not_reached": _over("Not reached"),
        "rejected": _over("Rejected"),
        "expired": _over("Expired"),
        "superseded": _over("Superseded"),
        "cancelled": _over("Cancelled"),
        "withdrawn": _over("Withdrawn"),
        "aborted": _over("Aborted"),
    },
    "wish": {
        "run": Word("mute", "player-play", "Run"),
        "pause": Word("warn", "player-pause", "Pause"),
        "abort": Word("bad", "player-stop", "Abort"),
        "end": Word("warn", "player-stop", "End"),
        "rollback": Word("bad", "arrow-back-up", "Roll back"),
        "roll_back": Word("bad", "arrow-back-up", "Roll back"),
    },
    "step": {
        "passed": Word("ok", "circle-check", "Passed"),
        "skipped": Word("mute", "player-skip-forward", "Gate skipped"),
        "failed": Word("bad", "circle-x", "Failed"),
        "went_back": Word("warn", "arrow-back-up", "Went back"),
        "now": _moving("Now"),
        "next": Word("mute", "circle", "Next"),
        "not_reached": _over("Not reached"),
    },
    "gate": {
        "pass": Word("ok", "circle-check", "Pass"),
        "passed": Word("ok", "circle-check", "Pass"),
        "fail": Word("bad", "circle-x", "Fail"),
        "failed": Word("bad", "circle-x", "Fail"),
        "inconclusive": Word("mute", "circle-dashed", "Inconclusive"),
        "collecting": _moving("Collecting"),
        "error": Word("bad", "alert-triangle", "Error"),
        "shown": Word("mute", "eye", "Not judged"),
    },
    "live": {
        "in_sync": Word("ok", "circle-check", "In sync"),
        "moving": _moving("Moving"),
        "drifted": Word("warn", "git-compare", "Drifted"),
        "empty": _over("Nothing yet"),
        "unknown": UNKNOWN,
    },
    "health": {
        "empty": _over("Nothing yet"),
        "healthy": Word("ok", "circle-check", "Healthy"),
        "degraded": Word("bad", "alert-octagon", "Degraded"),
        "down": Word("bad", "circle-x", "Down"),
        "idle": _over("Idle"),
        "sleeping": Word("mute", "moon", "Sleeping"),
        "waking": _moving("Waking"),
        "unknown": UNKNOWN,
    },
    "plan": {
        "surge_canary": Word("info", "rocket", "Surge canary"),
        "blue_green": Word("info", "copy", "Blue-green"),
        "replace": Word("info", "rotate", "Replace in place"),
        "recreate": Word("warn", "refresh", "Recreate"),
    },
    "touch": {
        "none": Word("ok", "circle-check", "Not touched"),
        "cold_caches": Word("info", "refresh", "Prefix caches start cold"),
        "waits": Word("warn", "hourglass", "Waits at the peak"),
        "refused": Word("bad", "circle-x", "Finds no replica"),
    },
    "turn": {
        "holds": _moving("Holds its GPUs"),
        "next": Word("ok", "circle-check", "Its turn"),
        "waits": Word("info", "hourglass", "Waits"),
        "later": Word("mute", "clock", "Begins later"),
        "undecided": Word("warn", "user-check", "Awaiting approval"),
    },
    "drill": {
        "waiting": Word("warn", "user-check", "Not begun"),
        "running": _moving("Running"),
        "reporting": Word("info", "hourglass", "Report is written"),
        "passed": Word("ok", "circle-check", "Passed"),
        "failed": Word("bad", "circle-x", "Failed"),
        "not_run": _over("Not run"),
    },
    "turn_of_cluster": {
        "pending": Word("mute", "circle", "Its turn comes"),
        "moving": _moving("Rolling out"),
        "baking": Word("info", "hourglass", "Bakes"),
        "done": Word("ok", "circle-check", "Done"),
        "frozen": Word("warn", "snowflake", "Frozen, cluster lost"),
        "failed": Word("bad", "circle-x", "Failed"),
        "left_out": _over("Left out"),
        "going_back": _moving("Goes back"),
        "back": Word("warn", "arrow-back-up", "Taken back"),
    },
    "answer": {
        "possible": Word("ok", "circle-check", "Possible"),
        "queued": Word("info", "hourglass", "Waits for others"),
        "needs_consent": Word("warn", "alert-triangle", "Needs consent"),
        "not_now": Word("bad", "ban", "Not now"),
        "never": Word("bad", "ban", "Never fits"),
    },
    "kept": {
        "kept": Word("ok", "circle-check", "Kept"),
        "missed": Word("warn", "alert-triangle", "Missed"),
        "open": Word("mute", "circle-minus", "Open"),
        "unknown": Word("mute", "help", "Not planned"),
    },
    "fate": {
        "serving": Word("ok", "circle-check", "Serving"),
        "trying": _moving("Rolling out"),
        "succeeded": _over("Served before"),
        "rolled_back": Word("warn", "arrow-back-up", "Rolled back"),
        "unused": Word("mute", "circle", "Never rolled out"),
    },
    "signature": {
        "verified": Word("ok", "shield-check", "Signature verified"),
        "partial": Word("warn", "shield", "Not every file signed"),
        "unsigned": Word("warn", "shield", "Not signed"),
        "wrong": Word("bad", "shield", "Signature wrong"),
        "unchecked": Word("mute", "shield", "Not checked"),
        "unknown": Word("mute", "help", "Not known"),
    },
    "period": {
        "open": Word("info", "lock-open", "Open"),
        "closing": Word("warn", "clipboard-check", "Closing"),
        "closed": Word("ok", "lock", "Closed"),
    },
    "credit": {
        "waiting": Word("warn", "user-check", "Waits for approval"),
        "active": Word("ok", "circle-check", "Active"),
        "refused": Word("bad", "ban", "Refused"),
        "expired": _over("Expired"),
    },
    "change": {
        "waiting": Word("warn", "user-check", "Waiting"),
        "approved": Word("ok", "circle-check", "Approved"),
        "rejected": Word("bad", "ban", "Rejected"),
        "expired": _over("Expired"),
        "withdrawn": _over("Withdrawn"),
    },
    "outcome": {
        "served": Word("ok", "circle-check", "Served"),
        "rerouted": Word("info", "transfer", "Rerouted"),
        "degraded": Word("warn", "alert-triangle", "Degraded"),
        "rejected": Word("warn", "ban", "Rejected"),
        "shed": Word("bad", "cloud-up", "Shed"),
        "timed_out": Word("bad", "clock", "Timed out"),
        "cancelled": _over("Cancelled"),
        "failed": Word("bad", "circle-x", "Failed"),
    },
    "pod": {
        "ready": Word("ok", "circle-check", "Ready"),
        "running": _moving("Running"),
        "starting": _moving("Starting"),
        "pending": Word("mute", "hourglass", "Pending"),
        "terminating": Word("mute", "progress", "Terminating"),
        "succeeded": _over("Ended"),
        "failed": Word("bad", "circle-x", "Failed"),
        "crashing": Word("bad", "alert-octagon", "Crashing"),
        "unknown": UNKNOWN,
    },
    "fetch": {
        "waiting": Word("mute", "hourglass", "Waits"),
        "pulling": _moving("Pulling"),
        "loading": _moving("Weights on the way"),
        "done": Word("ok", "circle-check", "On the node"),
        "hub": Word("bad", "circle-x", "Hub not reachable"),
        "commit": Word("bad", "circle-x", "No such commit"),
        "access": Word("bad", "ban", "Not allowed"),
        "failed": Word("bad", "circle-x", "Download failed"),
        "disk": Word("bad", "circle-x", "Disk full"),
        "registry": Word("bad", "circle-x", "Cannot be pulled"),
        "place": Word("warn", "ban", "No place"),
    },
    "node": {
        "ready": Word("ok", "circle-check", "Ready"),
        "cordoned": Word("warn", "ban", "Cordoned"),
        "not_ready": Word("bad", "circle-x", "Not ready"),
        "out": Word("bad", "circle-x", "Out of service"),
        "unknown": UNKNOWN,
    },
    "tenant": {
        "active": Word("ok", "circle-check", "Active"),
        "suspended": Word("warn", "ban", "Suspended"),
        "closed": _over("Closed"),
    },
    "key": {
        "live": Word("ok", "circle-check", "Live"),
        "active": Word("ok", "circle-check", "Active"),
        "expiring": Word("warn", "alarm", "Expires soon"),
        "expired": _over("Expired"),
        "revoked": Word("mute", "ban", "Revoked"),
    },
    "job": {
        "waiting": Word("mute", "clock", "Waiting"),
        "queued": Word("mute", "clock", "Queued"),
        "running": _moving("Running"),
        "done": Word("ok", "circle-check", "Done"),
        "succeeded": Word("ok", "circle-check", "Done"),
        "failed": Word("bad", "circle-x", "Failed"),
    },
    "yes": {
        "true": Word("ok", "circle-check", "Yes"),
        "false": Word("bad", "ban", "No"),
        "none": UNKNOWN,
    },
    "stage": {
        "done": Word("ok", "circle-check", "Done"),
        "running": _moving("Running"),
        "failed": Word("bad", "circle-x", "Failed"),
        "waiting": Word("mute", "circle", "Waiting"),
        "skipped": _over("Not needed"),
    },
}


def word(axis: str, value: object) -> Word:
    """The word for a status. One that the table lacks is shown as it is, in grey."""
    key = getattr(value, "value", value)
    key = "unknown" if key is None and axis != "yes" else str(key).lower()
    found = WORDS[axis].get(key)
    if found or key == "unknown":
        return found or UNKNOWN
    return Word("mute", "circle-dashed", key.replace("_", " ").capitalize())
