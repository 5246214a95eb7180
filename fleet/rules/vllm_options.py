"""Options of `vllm serve` 0.32: those a release may give, those that are ours, those refused.

`tests/engine/test_arguments.py` holds every line of these tables against the parser of vLLM.
"""

# Set by the console itself; `why` completes "... is set by the console: ".
RESERVED = {
    "--host": "pods listen on their own address",
    "--port": "probes and gateways use 8000",
    "--model": "it comes from the model version",
    "--served-model-name": "it is the name of the service",
    "--revision": "it is the commit of the model version",
    "--tokenizer-revision": "it is the tokenizer's commit of the model version",
    "--code-revision": "it is the code's commit of the model version",
    "--fingerprint-mode": "answers must prove which release they come from",
    "--fingerprint-value": "answers must prove which release they come from",
    "--shutdown-timeout": "give drain_seconds instead, so that the pod's grace rises with it",
    "--disable-access-log-for-endpoints": "probes would fill the log",
    "--disable-fastapi-docs": "pages of the engine are never exposed",
    "--lora-modules": "give adapters, so that the release pins them by digest",
    "--enable-prompt-tokens-details": "cached tokens have their own price",
}
_CODE = "It would load Python that no digest of the release covers"
_DEVELOPMENT = "Its endpoints answer without authentication in development mode only"
_ONE_POD = "Engines that compute apart are replicas of their own"
_GROUP = "Give the release a group_size: the console sets who leads and who works"
_LOGS = "Prompts and answers of tenants would be in the log"
FORBIDDEN = {
    "--allowed-local-media-path": "Requests could read files of the pod",
    "--allowed-origins": "Browsers talk to the gateway, never to an engine",
    "--api-key": "The network keeps strangers out, and an argument is no place for a secret",
    "--config": "A file would hide arguments from the digest of the release",
    "--data-parallel-address": _ONE_POD,
    "--disable-log-stats": "Without statistics there is nothing to judge the release by",
    "--enable-elastic-ep": "A request to the engine could change how many GPUs it uses",
    "--enable-log-deltas": _LOGS,
    "--enable-log-outputs": _LOGS,
    "--enable-log-requests": _LOGS,
    "--enable-offline-docs": "Pages of the engine are never exposed",
    "--enable-prompt-embeds": "Tensors of strangers would be unpickled in the engine",
    "--enable-scale-out": "Its endpoints have no authentication",
    "--enable-sleep-mode": _DEVELOPMENT,
    "--enable-tokenizer-info-endpoint": "It tells strangers the chat template",
    "--grpc": "Gateways speak HTTP",
    "--headless": _GROUP,
    "--hf-token": "A release is readable by everybody, and its pods never ask the model hub",
    "--io-processor-plugin": _CODE,
    "--logits-processors": _CODE,
    "--master-addr": _GROUP,
    "--master-port": _GROUP,
    "--middleware": _CODE,
    "--nnodes": _GROUP,
    "--node-rank": _GROUP,
    "--profiler-config": _DEVELOPMENT,
    "--reasoning-parser-plugin": _CODE,
    "--root-path": "Probes and gateways use the paths of vLLM",
    "--scheduler-cls": _CODE,
    "--ssl-certfile": "Pods speak plain HTTP inside the cluster; TLS ends at the gateway",
    "--ssl-keyfile": "Pods speak plain HTTP inside the cluster; TLS ends at the gateway",
    "--tool-parser-plugin": _CODE,
    "--tool-server": "The engine would call addresses that a request can name",
    "--trust-request-chat-template": "A request could run a template of its own",
    "--uds": "Probes and gateways use port 8000",
    "--uvicorn-log-level": "It changes nothing that a release should pin",
    "--weight-transfer-config": "Weights would change after the approval",
    "--worker-cls": _CODE,
    "--worker-extension-cls": _CODE,
}
SWITCHES = frozenset(
    [
        "--enable-prefix-caching",
        "--no-enable-prefix-caching",
        "--enable-chunked-prefill",
        "--no-enable-chunked-prefill",
        "--enforce-eager",
        "--trust-remote-code",
        "--enable-lora",
        "--enable-auto-tool-choice",
        "--enable-server-load-tracking",
        "--enable-request-id-headers",
        "--enable-mfu-metrics",
        "--kv-cache-metrics",
        "--async-scheduling",
        "--no-async-scheduling",
        "--enable-expert-parallel",
        "--data-parallel-external-lb",
        "--data-parallel-hybrid-lb",
        "--disable-custom-all-reduce",
        "--skip-tokenizer-init",
        "--disable-cascade-attn",
        "--no-enable-log-requests",
        "--language-model-only",
        "--disable-sliding-window",
    ]
)
WHOLE = frozenset(
    [
        "--max-model-len",
        "--max-num-seqs",
        "--max-num-batched-tokens",
        "--max-num-queued-reqs",
        "--max-num-queued-tokens",
        "--tensor-parallel-size",
        "--pipeline-parallel-size",
        "--data-parallel-size",
        "--data-parallel-size-local",
        "--data-parallel-rank",
        "--block-size",
        "--seed",
        "--max-loras",
        "--max-lora-rank",
        "--max-cpu-loras",
        "--max-logprobs",
        "--num-gpu-blocks-override",
        "--api-server-count",
        "--max-parallel-loading-workers",
        "--kv-cache-memory-bytes",
        "--stream-interval",
        "--decode-context-parallel-size",
    ]
)
# Where 0 or -1 mean something; elsewhere at least 1.
FROM_ZERO = frozenset(["--data-parallel-rank", "--seed"])
FROM_MINUS_ONE = frozenset(["--max-logprobs"])
NUMBERS = frozenset(
    [
        "--gpu-memory-utilization",
        "--device-memory-utilization",
        "--kv-offloading-size",
        "--cpu-offload-gb",
    ]
)
DOCUMENTS = frozenset(
    [
        "--kv-transfer-config",
        "--speculative-config",
        "--compilation-config",
        "--hf-overrides",
        "--override-generation-config",
        "--limit-mm-per-prompt",
        "--mm-processor-kwargs",
        "--default-chat-template-kwargs",
        "--additional-config",
        "--kv-events-config",
        "--eplb-config",
    ]
)
CHOICES = {
    "--dtype": frozenset(["auto", "bfloat16", "float", "float16", "float32", "half"]),
    "--kv-cache-dtype": frozenset(
        [
            *("auto", "bfloat16", "float16", "fp8", "fp8_ds_mla", "fp8_e4m3", "fp8_e5m2"),
            *("fp8_inc", "fp8_per_token_head", "int4_per_token_head", "int8_per_token_head"),
            *("nvfp4", "nvfp4_4over6", "nvfp4_ds_mla"),
        ]
    ),
    "--scheduling-policy": frozenset(["fcfs", "priority"]),
    "--chat-template-content-format": frozenset(["auto", "openai", "string"]),
    "--runner": frozenset(["auto", "draft", "generate", "pooling"]),
    "--convert": frozenset(["auto", "classify", "embed", "none"]),
    "--prefix-caching-hash-algo": frozenset(["sha256", "sha256_cbor", "xxhash", "xxhash_cbor"]),
    "--kv-offloading-backend": frozenset(["lmcache", "native"]),
    "--lora-dtype": frozenset(["auto", "bfloat16", "float16"]),
    "--max-lora-rank": frozenset(["1", "8", "16", "32", "64", "128", "256", "320", "512"]),
    "--mm-encoder-tp-mode": frozenset(["data", "weights"]),
}
MEDIA_HOSTS = "--allowed-media-domains"
LISTS = frozenset([MEDIA_HOSTS])  # of words: we write them with commas, vLLM takes them apart
TEXTS = frozenset(
    [
        *LISTS,
        *(CHOICES.keys() - WHOLE),
        "--quantization",
        "--load-format",
        "--tokenizer",
        "--tokenizer-mode",
        "--attention-backend",
        "--distributed-executor-backend",
        "--chat-template",
        "--tool-call-parser",
        "--reasoning-parser",
        "--generation-config",
        "--config-format",
        "--model-impl",
        "--data-parallel-rpc-port",
        "--data-parallel-backend",
        "--download-dir",
        "--ignore-patterns",
        "--moe-backend",
        "--all2all-backend",
        "--optimization-level",
    ]
)
VALUED = WHOLE | NUMBERS | DOCUMENTS | TEXTS
KNOWN = SWITCHES | VALUED
SHORT = {
    "-tp": "--tensor-parallel-size",
    "-pp": "--pipeline-parallel-size",
    "-dp": "--data-parallel-size",
    "-q": "--quantization",
    "-O": "--optimization-level",
}
