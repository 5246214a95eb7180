"""A real Kubernetes on loopback, with GPU nodes whose pods are local processes.

Owns: the control plane's processes, its certificates and roles, the node agent, the pods.
Does not own: building the binaries (sandbox.controlplane), the engines (sandbox.engines).
May import: sandbox.process, sandbox.controlplane, sandbox.engines.images; no app.
Start reading at: machine.Sandbox; then control.Cluster and agent.Agent (the kubelet's part).

Lifetimes: the sandbox's process > an idle anchor process > pods. Pods survive a crash of the node
agent, but neither the end of the sandbox nor its own crash.
"""
