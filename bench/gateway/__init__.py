"""What the gateway costs, against a direct call and against LiteLLM's proxy, in one run.

Owns: an upstream of zero latency, a load generator, the table of ratios. Does not own: limits on
what is good enough; the README keeps what was measured.
Start reading at `__main__.py`.
"""
