"""GPU nodes as the cluster sees them: pools, names, labels, zones."""

from dataclasses import dataclass

# product -> (short name, MiB of memory per GPU, family, compute capability)
PRODUCTS = {
    "NVIDIA-H100-80GB-HBM3": ("h100", 81559, "hopper", "9.0"),
    "NVIDIA-H200": ("h200", 143771, "hopper", "9.0"),
    "NVIDIA-A100-SXM4-80GB": ("a100", 81920, "ampere", "8.0"),
    "NVIDIA-L40S": ("l40s", 46068, "ada-lovelace", "8.9"),
}
REGION = "local-1"


@dataclass(frozen=True)
class GpuPool:
    """Equal nodes. As text: NODESxGPUSxPRODUCT, such as 2x4xNVIDIA-L40S."""

    nodes: int
    gpus: int
    product: str

    @classmethod
    def parse(cls, text: str) -> "GpuPool":
        nodes, gpus, product = text.split("x", 2)
        if product not in PRODUCTS:
            raise ValueError(f"unknown product {product}; known are {', '.join(PRODUCTS)}")
        return cls(int(nodes), int(gpus), product)

    def text(self) -> str:
        return f"{self.nodes}x{self.gpus}x{self.product}"

    @property
    def short(self) -> str:
        return PRODUCTS[self.product][0]

    def node_names(self) -> list[str]:
        return [f"{self.short}-{i + 1}" for i in range(self.nodes)]


DEFAULT_POOLS = (GpuPool(2, 4, "NVIDIA-H100-80GB-HBM3"), GpuPool(2, 4, "NVIDIA-L40S"))


def node_labels(pool: GpuPool, index: int, region: str) -> dict[str, str]:
    """What the kubelet and GPU feature discovery write on node number `index` of the pool."""
    _, memory, family, capability = PRODUCTS[pool.product]
    major, _, minor = capability.partition(".")
    name, zone = pool.node_names()[index], region + "ab"[index % 2]
    return {
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
        "node.kubernetes.io/instance-type": f"sandbox.{pool.gpus}x{pool.short}",
        "topology.kubernetes.io/region": region,
        "topology.kubernetes.io/zone": zone,
        "nvidia.com/gpu.present": "true",
        "nvidia.com/gpu.product": pool.product,
        "nvidia.com/gpu.count": str(pool.gpus),
        "nvidia.com/gpu.memory": str(memory),
        "nvidia.com/gpu.family": family,
        "nvidia.com/gpu.compute.major": major,
        "nvidia.com/gpu.compute.minor": minor,
        "nvidia.com/gpu.clique": f"sandbox-{zone}.{pool.short}",
        "nvidia.com/cuda.driver-version.full": "580.95.05",
    }
