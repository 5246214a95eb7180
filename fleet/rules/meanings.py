"""What each part of a release means for clients, cost and the KV cache: one sentence a group."""

CONTEXT = "Clients see another longest context; a smaller one refuses requests"
SIZE = "Another number of GPUs a replica: cost and latency"
THROUGHPUT = "More or fewer requests at a time: throughput against latency"
PRECISION = "Another precision of the weights: answers may differ"
MEMORY = "Another size of the KV cache: preemptions, risk of out of memory"
PROMPTS = "Prompts are put together in another way: answers differ"
TOOLS = "Clients see tool calls in another way"
SAMPLING = "Another way to choose tokens where a request does not say: answers differ"
ADAPTERS = "Other adapters, or another number of them at a time"
MEDIA = "Pictures and sounds are taken in another way, or in another number"
QUEUES = "Another number of requests waits before the engine refuses with 503"
KERNELS = "Other kernels: speed changes, and answers may differ in the last digits"
START = "Starts are faster or slower; answers stay"
WATCHED = "Other figures for operators; clients notice nothing"
SPREAD = "Work is spread over GPUs in another way: latency and throughput"
OFFLOADING = "More or less of the cache or the weights lies in the memory of the host"
TOKENS = "Tokens are counted in another way: bills change"
ENGINE = "Another build of the engine"

GROUPS = {
    CONTEXT: ("--max-model-len",),
    SIZE: (
        "--tensor-parallel-size", "--pipeline-parallel-size", "--data-parallel-size",
        "--data-parallel-size-local"),
    THROUGHPUT: ("--max-num-seqs",),
    "Prefill in larger or smaller pieces: time to first token": (
        "--max-num-batched-tokens", "--enable-chunked-prefill", "--no-enable-chunked-prefill"),
    PRECISION: ("--dtype", "--quantization"),
    "Another precision of the KV cache: capacity, and answers may differ": ("--kv-cache-dtype",),
    MEMORY: (
        "--gpu-memory-utilization", "--device-memory-utilization", "--kv-cache-memory-bytes",
        "--num-gpu-blocks-override"),
    "Another grain of the KV cache: shorter or longer common beginnings are found": (
        "--block-size",),
    "Cached tokens, which are cheaper, appear": ("--enable-prefix-caching",),
    "Cached tokens, which are cheaper, disappear": ("--no-enable-prefix-caching",),
    "Cached beginnings are named in another way": ("--prefix-caching-hash-algo",),
    "Another KV domain: caches of the two releases never mix": ("--kv-transfer-config",),
    "KV events of the engine": ("--kv-events-config",),
    OFFLOADING: ("--kv-offloading-size", "--kv-offloading-backend", "--cpu-offload-gb"),
    PROMPTS: (
        "--chat-template", "--chat-template-content-format", "--default-chat-template-kwargs",
        "chat_template_digest"),
    TOOLS: ("--tool-call-parser", "--enable-auto-tool-choice"),
    "Clients see reasoning in another place": ("--reasoning-parser",),
    SAMPLING: ("--generation-config", "--override-generation-config", "--seed"),
    "Clients may ask for more or fewer log probabilities": ("--max-logprobs",),
    "Answers come in larger or smaller pieces": ("--stream-interval",),
    "Answers carry an X-Request-Id, or no longer do": ("--enable-request-id-headers",),
    "Another latency between tokens": ("--speculative-config",),
    "Another order of waiting requests": ("--scheduling-policy",),
    QUEUES: ("--max-num-queued-reqs", "--max-num-queued-tokens"),
    "No CUDA graphs: faster start, slower answers": ("--enforce-eager",),
    ADAPTERS: (
        "--enable-lora", "--max-loras", "--max-lora-rank", "--max-cpu-loras", "--lora-dtype"),
    MEDIA: (
        "--limit-mm-per-prompt", "--mm-processor-kwargs", "--language-model-only",
        "--mm-encoder-tp-mode", "--allowed-media-domains"),
    KERNELS: (
        "--attention-backend", "--moe-backend", "--compilation-config", "--optimization-level",
        "--disable-cascade-attn", "--disable-custom-all-reduce", "--model-impl"),
    START: (
        "--load-format", "--download-dir", "--ignore-patterns", "--max-parallel-loading-workers"),
    WATCHED: (
        "--enable-server-load-tracking", "--enable-mfu-metrics", "--kv-cache-metrics",
        "--no-enable-log-requests"),
    SPREAD: (
        "--enable-expert-parallel", "--all2all-backend", "--eplb-config",
        "--decode-context-parallel-size", "--data-parallel-backend", "--data-parallel-external-lb",
        "--data-parallel-hybrid-lb", "--data-parallel-rank", "--data-parallel-rpc-port",
        "--distributed-executor-backend", "--api-server-count", "--async-scheduling",
        "--no-async-scheduling"),
    "The model is understood in another way: answers may differ": (
        "--hf-overrides", "--config-format", "--additional-config", "--disable-sliding-window",
        "--trust-remote-code"),
    "Another kind of task: other endpoints answer": ("--runner", "--convert"),
    TOKENS: ("--tokenizer", "--tokenizer-mode", "--skip-tokenizer-init", "tokenizer_commit"),
    "Another model answers": ("model",),
    "Other weights answer": ("commit",),
    "Other code of the model runs": ("code_commit",),
    ENGINE: ("image", "image_digest"),
    "Other cards: cost and latency": ("gpu_product",),
    "Another number of GPUs a replica: cost": ("gpus",),
    "Over another number of nodes: how fast, and what one failure takes": ("group_size",),
    "On other nodes together: how fast its pods reach each other, and where it finds a place": (
        "topology", "subgroup_size"),
    "Another request of the node's CPU and memory: where replicas find a place": (
        "cpu", "memory", "shared_memory"),
    "Another deadline of starts": ("startup_seconds",),
    "Another time to finish requests when a replica goes away": (
        "drain_seconds", "pre_stop_seconds", "teardown_seconds", "kv_lease_seconds"),
}  # fmt: skip
MEANS = {name: sentence for sentence, names in GROUPS.items() for name in names}
SEEN_BY_CLIENTS = frozenset(
    name
    for sentence in (
        CONTEXT, PRECISION, PROMPTS, TOOLS, SAMPLING, ADAPTERS, MEDIA, TOKENS,
        MEANS["--kv-cache-dtype"], MEANS["--reasoning-parser"], MEANS["--max-logprobs"],
        MEANS["--stream-interval"], MEANS["--enable-request-id-headers"], MEANS["model"],
        MEANS["commit"], MEANS["code_commit"], MEANS["--runner"], MEANS["--hf-overrides"],
        MEANS["--scheduling-policy"],
    )
    for name in GROUPS[sentence]
)  # fmt: skip
KV_SHAPING = frozenset(
    [
        "--block-size",
        "--decode-context-parallel-size",
        "--disable-sliding-window",
        "--dtype",
        "--hf-overrides",
        "--kv-cache-dtype",
        "--kv-transfer-config",
        "--pipeline-parallel-size",
        "--prefix-caching-hash-algo",
        "--quantization",
        "--tensor-parallel-size",
        "--tokenizer",
    ]
)
