"""Measure the gateway: `python -m bench.gateway`.

The measured proxy has the last core for itself; load, upstream and store share the others.
Everything is measured in one run, in turns, so that the ratios hold on a noisy machine. A proxy
that cannot hold the rate gets half of what it can.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import uvloop

from bench.gateway.load import Cost, Latency, Target, cost, latency, resident_mb
from bench.gateway.servers import KEY, MASTER_KEY, Servers, litellm_programs

AIM_RATIO = 5.0
AIM_P50_MS = 3.0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.gateway", description=__doc__)
    parser.add_argument("--rate", type=float, default=200.0, help="requests a second")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each measurement")
    parser.add_argument("--clients", type=int, default=16, help="for requests per CPU second")
    parser.add_argument("--rounds", type=int, default=3, help="the median round counts")
    parser.add_argument("--without-litellm", action="store_true")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-gateway-")))
        targets = start(Servers(stack, folder), with_litellm=not options.without_litellm)
        figures = uvloop.run(measure(targets, options))
    show(figures, options)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2))
    return 0


def start(servers: Servers, *, with_litellm: bool) -> list[Target]:
    cores = sorted(os.sched_getaffinity(0))
    programs = litellm_programs() if with_litellm else None
    os.sched_setaffinity(0, cores[:-1] or cores)  # children inherit it; a proxy gets its own
    upstream, store = servers.upstream(), servers.valkey()
    os.sched_setaffinity(0, cores[-1:])
    url, pid = servers.gateway(upstream, store)
    targets = [
        Target("direct", f"http://{upstream}", "none"),
        Target("gateway", url, KEY, pid),
    ]
    if programs is not None:
        url, pid = servers.litellm(upstream, programs)
        targets.append(Target("litellm", url, MASTER_KEY, pid))
    os.sched_setaffinity(0, cores[:-1] or cores)
    return targets


async def measure(targets: list[Target], options: argparse.Namespace) -> dict[str, dict]:
    rates: dict[str, float] = {}
    for target in targets:  # warms connections and caches, and tells what each can hold
        warm = await cost(target, clients=4, seconds=3.0, stream=False)
        rates[target.name] = min(options.rate, warm.requests / warm.seconds / 2)
    latencies: dict[str, list[Latency]] = {target.name: [] for target in targets}
    plain: dict[str, list[Cost]] = {target.name: [] for target in targets}
    streams: dict[str, list[Cost]] = {target.name: [] for target in targets}
    seconds, clients = options.seconds, options.clients
    for _ in range(options.rounds):
        for target in targets:
            found = await latency(target, rate=rates[target.name], seconds=seconds)
            latencies[target.name].append(found)
            await asyncio.sleep(0.5)
        for target in targets[1:]:
            for stream, kept in ((False, plain), (True, streams)):
                found = await cost(target, clients=clients, seconds=seconds, stream=stream)
                kept[target.name].append(found)
    return {
        target.name: {"rate": rates[target.name]}
        | summary(target, latencies[target.name], plain[target.name], streams[target.name])
        for target in targets
    }


def summary(
    target: Target,
    latencies: list[Latency],
    plain: list[Cost],
    streams: list[Cost],
) -> dict[str, float]:
    middle = sorted(latencies, key=lambda one: one.p50)[len(latencies) // 2]
    found = {"p50_ms": middle.p50, "p99_ms": middle.p99}
    if target.pid is not None:
        found["per_cpu_second"] = median([one.per_cpu_second for one in plain])
        found["cpu_us"] = 1e6 / found["per_cpu_second"]
        found["streams_per_cpu_second"] = median([one.per_cpu_second for one in streams])
        found["resident_mb"] = resident_mb(target.pid)
    return found


def median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


def show(figures: dict[str, dict], options: argparse.Namespace) -> None:
    direct, gateway = figures["direct"], figures["gateway"]
    print(f"{'':10}{'req/s':>8}{'p50 ms':>9}{'p99 ms':>9}{'req/CPU-s':>11}{'CPU us':>9}", end="")
    print(f"{'streams/CPU-s':>15}{'MB':>7}")
    for name, row in figures.items():
        print(f"{name:10}{row['rate']:8.0f}{row['p50_ms']:9.2f}{row['p99_ms']:9.2f}", end="")
        if "cpu_us" in row:
            print(f"{row['per_cpu_second']:11.0f}{row['cpu_us']:9.0f}", end="")
            print(f"{row['streams_per_cpu_second']:15.1f}{row['resident_mb']:7.0f}", end="")
        print()
    added = gateway["p50_ms"] - direct["p50_ms"]
    print(f"\nadded by the gateway at {options.rate:.0f} requests/s on one core: ", end="")
    print(f"p50 {added:.2f} ms (aim {AIM_P50_MS:.0f}), ", end="")
    print(f"p99 {gateway['p99_ms'] - direct['p99_ms']:.2f} ms")
    if "litellm" in figures:
        other = figures["litellm"]
        ratio = gateway["per_cpu_second"] / other["per_cpu_second"]
        streams = gateway["streams_per_cpu_second"] / other["streams_per_cpu_second"]
        print(f"requests per CPU second, gateway : LiteLLM = {ratio:.1f} (aim {AIM_RATIO:.0f})")
        print(f"streams of 100 chunks per CPU second, gateway : LiteLLM = {streams:.1f}")


if __name__ == "__main__":
    sys.exit(main())
