"""Controllers that not every cluster has, built from their sources and run beside a control plane.

Only what asks for them builds them (`make test-controllers`); elsewhere stand-ins do their work.
"""
