"""What runs in a release's image to bring its weights: `python3 -c SCRIPT NAME COMMIT [COMMIT...]`.

It is text, not code of the console: it needs Python and huggingface_hub, which images of vLLM
have. A commit that is whole in the cache asks no hub. The commits after the first are of tokenizer
and code, and come without weights. Its last line begins with a word of `fleet.rules.weights`.
"""

SCRIPT = r"""
import errno, os, sys
name, commits = sys.argv[1], sys.argv[2:]
cache = os.environ["HF_HUB_CACHE"]
NO_WEIGHTS = ["*.safetensors", "*.bin", "*.pt", "*.pth", "*.gguf", "*.h5", "*.msgpack", "*.onnx"]

def say(text):
    print(text, flush=True)
    try:
        with open("/dev/termination-log", "r+") as out:
            out.write(text)
    except OSError:
        pass

def mark_of(commit):
    folder = "models--" + name.replace("/", "--")
    kind = "weights" if commit == commits[0] else "small"
    return os.path.join(cache, folder, "snapshots", commit, ".quartermaster-" + kind)

def bring(commit):
    from huggingface_hub import HfApi, snapshot_download
    # Without this question a hub that cannot be reached leaves half a snapshot for a whole one.
    HfApi().model_info(name, revision=commit, timeout=30)
    ignore = None if commit == commits[0] else NO_WEIGHTS
    snapshot_download(name, revision=commit, cache_dir=cache, ignore_patterns=ignore)
    with open(mark_of(commit), "w"):
        pass

def size_of(commit):
    found = []
    for folder, _, files in os.walk(os.path.dirname(mark_of(commit))):
        found += [os.path.getsize(os.path.join(folder, f)) for f in files]
    return sum(found)

def chain(error):
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__

def kind_of(error):
    found = list(chain(error))
    names = {c.__name__ for e in found for c in type(e).__mro__}
    answers = [getattr(e, "response", None) for e in found]
    status = {getattr(a, "status_code", None) for a in answers}
    if any(getattr(e, "errno", None) in (errno.ENOSPC, errno.EDQUOT) for e in found):
        return "disk"
    of_files = [e for e in found if getattr(e, "errno", None) and getattr(e, "filename", None)]
    if "ImportError" in names or of_files:
        return "failed"
    if "RevisionNotFoundError" in names:
        return "commit"
    if names & {"RepositoryNotFoundError", "GatedRepoError"} or status & {401, 403}:
        return "access"
    if names & {"HfHubHTTPError", "HTTPError", "OSError", "TransportError", "RequestException"}:
        return "hub"
    return "failed"

try:
    there = [c for c in commits if os.path.exists(mark_of(c))]
    for commit in commits:
        if commit not in there:
            bring(commit)
    size = size_of(commits[0]) / 1e9
    say(f"{name} at {commits[0][:12]}: {size:.2f} GB" + (", was there" if there == commits else ""))
except BaseException as error:
    words = " ".join(str(error).split())
    say(f"{kind_of(error)}: {type(error).__name__}: {words}"[:600])
    sys.exit(1)
"""
