"""Arguments of `vllm serve` (0.32): one form for all, a sentence for each that cannot be."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches

from fleet.rules.kv_transfer import AS_USUAL, Allowed, refuse_transfer
from fleet.rules.vllm_options import (
    CHOICES,
    DOCUMENTS,
    FORBIDDEN,
    FROM_MINUS_ONE,
    FROM_ZERO,
    KNOWN,
    LISTS,
    MEDIA_HOSTS,
    NUMBERS,
    RESERVED,
    SHORT,
    SWITCHES,
    WHOLE,
)

HOST = re.compile(r"([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+[a-z]([a-z0-9-]*[a-z0-9])?")


def normalise(words: Iterable[str]) -> tuple[str, ...]:
    """Write each argument as "--flag" or "--flag=value"; raise ValueError with a sentence."""
    found: list[str] = []
    wants_value = False
    for word in (w for line in words for w in _split(line)):
        if not word.startswith("-") or _is_number(word):
            if not wants_value:
                raise ValueError(f"{word} stands alone: each argument begins with --")
            flag = found[-1].partition("=")[0]
            word = ",".join(word.split()) if flag in LISTS else word
            found[-1] += f",{word}" if "=" in found[-1] else f"={word}"
            wants_value = flag in LISTS
            continue
        flag, equals, value = word.partition("=")
        flag = SHORT.get(flag, flag).replace("_", "-")
        found.append(f"{flag}={value}" if equals else flag)
        wants_value = not equals and flag not in SWITCHES
    return tuple(found)


def _split(line: str) -> list[str]:
    """A line may hold a flag and its value; JSON values may hold spaces."""
    line = line.strip()
    if not line or line.startswith("#"):
        return []
    flag, space, value = line.partition(" ")
    return [flag, value.strip()] if space and flag.startswith("-") and "=" not in flag else [line]


def rendered(arguments: Iterable[str]) -> Iterator[str]:
    """As vLLM takes them: the words of a list each for themselves."""
    for argument in arguments:
        flag, _, value = argument.partition("=")
        yield from (flag, *words_of(value)) if flag in LISTS else (argument,)


def words_of(value: str) -> tuple[str, ...]:
    """Those of a list."""
    return tuple(word for word in value.split(",") if word)


def _is_number(word: str) -> bool:
    digits = word.removeprefix("-").replace(".", "", 1)
    return digits.isascii() and digits.isdecimal()


def values_of(arguments: Iterable[str]) -> dict[str, str]:
    """Value by flag; the last one wins, as in vLLM. A switch has an empty value."""
    return {flag: value for flag, _, value in (a.partition("=") for a in arguments)}


def number_of(values: Mapping[str, str], flag: str, default: int) -> int:
    value = values.get(flag, "")
    return int(value) if value.isascii() and value.isdecimal() else default


def refusals(arguments: Iterable[str], allowed: Allowed = AS_USUAL) -> Iterator[str]:
    """A sentence for each argument that cannot be."""
    values = values_of(arguments)
    for flag, value in values.items():
        if sentence := _refuse_flag(flag) or _refuse_value(flag, value):
            yield sentence
        elif flag == "--kv-transfer-config":
            yield from refuse_transfer(value, allowed)
    yield from _combinations(values)
    yield from _together(values)
    yield from _shared_by_tenants(values)


def _refuse_flag(flag: str) -> str:
    if flag in RESERVED:
        return f"{flag} is set by the console: {RESERVED[flag]}"
    if flag in FORBIDDEN:
        return f"{flag} is refused. {FORBIDDEN[flag]}"
    if flag not in KNOWN:
        near = get_close_matches(flag, sorted(KNOWN), n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        return f"vLLM 0.32 has no {flag} that this console knows{hint}"
    return ""


def _refuse_value(flag: str, value: str) -> str:
    if flag in SWITCHES:
        return f"{flag} takes no value, not {value!r}" if value else ""
    if not value:
        return f"{flag} needs a value"
    if flag in WHOLE and (sentence := _refuse_whole(flag, value)):
        return sentence
    if flag in NUMBERS and not _is_number(value):
        return f"{flag} needs a number, not {value!r}"
    if flag.endswith("-memory-utilization") and not 0 < float(value) <= 1:
        return f"{flag} is a share of the card's memory, above 0 and at most 1, not {value}"
    if flag == MEDIA_HOSTS and (wrong := [h for h in value.split(",") if not HOST.fullmatch(h)]):
        return (
            f"{flag} is a list of hosts, as in media.example.com,cdn.example.com, not {wrong[0]!r}"
        )
    if flag in CHOICES and value not in CHOICES[flag]:
        known = sorted(CHOICES[flag], key=lambda c: (len(c), c) if c.isdigit() else (0, c))
        return f"{flag} is one of {', '.join(known)}, not {value!r}"
    return _refuse_document(flag, value) if flag in DOCUMENTS else ""


def _refuse_whole(flag: str, value: str) -> str:
    if not value.removeprefix("-").isdecimal():
        return f"{flag} needs a whole number, not {value!r}"
    least = 0 if flag in FROM_ZERO else -1 if flag in FROM_MINUS_ONE else 1
    return f"{flag} is at least {least}, not {value}" if int(value) < least else ""


def _refuse_document(flag: str, value: str) -> str:
    try:
        json.loads(value)
    except ValueError as error:
        return f"{flag} needs JSON: {error}"
    return ""


def _combinations(values: Mapping[str, str]) -> Iterator[str]:
    pairs = (
        ("--enable-prefix-caching", "--no-enable-prefix-caching"),
        ("--enable-chunked-prefill", "--no-enable-chunked-prefill"),
        ("--async-scheduling", "--no-async-scheduling"),
        ("--data-parallel-external-lb", "--data-parallel-hybrid-lb"),
        ("--gpu-memory-utilization", "--kv-cache-memory-bytes"),
        ("--gpu-memory-utilization", "--device-memory-utilization"),
    )
    for one, other in pairs:
        if one in values and other in values:
            yield f"{one} and {other} exclude each other"
    for flag in ("--max-loras", "--max-lora-rank", "--max-cpu-loras", "--lora-dtype"):
        if flag in values and "--enable-lora" not in values:
            yield f"{flag} does nothing without --enable-lora"
    if "--enable-auto-tool-choice" in values and "--tool-call-parser" not in values:
        yield "--enable-auto-tool-choice needs --tool-call-parser"
    if "--kv-offloading-backend" in values and "--kv-offloading-size" not in values:
        yield "--kv-offloading-backend does nothing without --kv-offloading-size"
    if "--kv-offloading-size" in values and "--kv-transfer-config" in values:
        yield "--kv-offloading-size would replace the connector of --kv-transfer-config"


def _together(values: Mapping[str, str]) -> Iterator[str]:
    """Numbers that vLLM holds against each other when it starts, minutes later."""
    tokens = number_of(values, "--max-num-batched-tokens", 0)
    sequences = number_of(values, "--max-num-seqs", 0)
    if tokens and tokens < sequences:
        yield (
            f"--max-num-batched-tokens {tokens:,} is less than --max-num-seqs {sequences:,}:"
            " a step could not give each sequence a token"
        )
    length = number_of(values, "--max-model-len", 0)
    if tokens and tokens < length and "--no-enable-chunked-prefill" in values:
        yield (
            f"--max-num-batched-tokens {tokens:,} is less than --max-model-len {length:,}:"
            " without chunked prefill the longest prompts would be refused"
        )
    blocks, size = (number_of(values, f, 0) for f in ("--num-gpu-blocks-override", "--block-size"))
    if blocks and size and blocks * size < length:
        yield (
            f"{blocks:,} blocks of {size} tokens hold {blocks * size:,} tokens, a single request"
            f" of --max-model-len {length:,} does not fit"
        )
    in_memory, loras = (number_of(values, f, 1) for f in ("--max-cpu-loras", "--max-loras"))
    if "--max-cpu-loras" in values and in_memory < loras:
        yield (
            f"--max-cpu-loras {in_memory} is less than --max-loras {loras}: those on the card are"
            " kept in memory as well"
        )
    tensor, context = (
        number_of(values, f, 1)
        for f in ("--tensor-parallel-size", "--decode-context-parallel-size")
    )
    if tensor % context:
        yield f"--tensor-parallel-size {tensor} cannot be divided by decode context {context}"


def _shared_by_tenants(values: Mapping[str, str]) -> Iterator[str]:
    """A cache that several tenants share tells nobody what another one asked."""
    algorithm = values.get("--prefix-caching-hash-algo", "")
    if algorithm.startswith("xxhash"):
        yield (
            f"--prefix-caching-hash-algo {algorithm} does not resist made collisions, so the salt"
            " would not keep tenants' caches apart: give sha256 or sha256_cbor"
        )
    events = values.get("--kv-events-config", "")
    if '"enable_kv_cache_events":true' in events.replace(" ", ""):
        yield (
            "--kv-events-config would publish the tokens of prompts on a port without"
            " authentication"
        )
    if values.get("--distributed-executor-backend", "mp") not in ("mp", "uni"):
        yield (
            "--distributed-executor-backend is mp or uni: the ports of the others have no"
            " authentication"
        )
