"""Stand-in for `vllm serve`: the wire contract of vLLM 0.32 without a model and without a GPU.

Owns: endpoints, streams, usage, metrics, drain modes, fault knobs. Does not own: pods.
May import: the standard library and uvloop. Start reading at: server.py, then core.py.
"""
