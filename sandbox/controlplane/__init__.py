"""The Kubernetes control plane, built from Go modules.

Owns: the Go module (go.mod, go.sum, cmd/etcd), finding a Go toolchain, the cache of binaries.
Does not own: running them (sandbox.cluster).
May import: sandbox.bootstrap, sandbox.locking and the standard library only.
Start reading at: build.ensure.

`go install k8s.io/kubernetes/...@version` cannot work, because that module has `replace` lines; so
this is a wrapper module with a `tool` line for each program and a `replace` line for each staging
module. To move to another Kubernetes version change `k8s.io/kubernetes` and every `replace` line to
the matching v0.MINOR.PATCH, look for staging modules that are new or gone, then `go mod tidy`.
"""
