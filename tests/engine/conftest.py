"""Engines without a cluster; the cluster comes in where a pod is needed."""

from tests.fixtures.cluster import cluster
from tests.fixtures.engines import double_engine, real_engine, vllm

__all__ = ["cluster", "double_engine", "real_engine", "vllm"]
