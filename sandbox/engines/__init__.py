"""What runs in the sandbox's pods: the stand-in engine and a real vLLM on CPU.

Owns: the stand-in's wire contract, the catalogue of images, the environment of the real vLLM.
Does not own: pods and nodes (sandbox.cluster).
May import: sandbox.bootstrap (the cache folder); no app.
Start reading at: images.CATALOGUE, standin/server.py, vllm_env.py.
"""
