"""A small OCI registry and a small model repository, for tests and for trying `Resolve`.

Owns: the protocols as far as a console asks them (manifests, blobs, tokens, revisions, files).
Does not own: which images exist: the sandbox's catalogue (sandbox.engines.images) says that.
Read only, on loopback. Start reading at server.py; run it: python -m sandbox.registry --port 5601
"""
