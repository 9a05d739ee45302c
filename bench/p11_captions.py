"""P11: paid captions beside the server's own throughput; what kills leave is counted by `make faults`.

The server of tests runs as a process of its own on loopback, with 64 places and a fixed time per answer, as a hosted or
a local model has. What it can do is measured in the same run by a plain load generator: 64 connections that send the
very requests of the chips over bare sockets, the next as soon as the last is answered, and do nothing else. Then the
captioner writes: facts to prompts, a ledger that syncs to disk before and after each call, answers read and verified,
records made. Both share the machine with the server. Repeats alternate.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bench.record import record, spread
from captioners.base import Access
from captioners.conversation import Conversation
from captioners.ledger import LedgerPlace, totals
from captioners.ledger_sqlite import SqliteLedger
from captioners.live import LiveCaptioner
from captioners.manner import first_manner
from captioners.till import Till
from tests.captions_killed import many_chips, recipe, server_process, stats

IN_FLIGHT = 64
SMALL = ("short",)
ALL = ("short", "long", "qa")


def bodies(count: int, kinds: Sequence[str]) -> Iterator[bytes]:
    """The requests of the chips, as they go over the wire."""
    captions = recipe()
    till = Till(captions, "")
    for one in many_chips(count, kinds):
        asked = till.question(Conversation(one), first_manner(captions.model_profile))
        yield json.dumps({"model": captions.model, "messages": asked.messages, **asked.parameters}).encode()


async def load(url: str, requests: Sequence[bytes]) -> float:
    """Answers per second of a generator that does nothing but send and receive, `IN_FLIGHT` at a time."""
    host, port = urlsplit(url).hostname, urlsplit(url).port
    waiting = iter(requests)

    async def connection() -> None:
        reader, writer = await asyncio.open_connection(host, port)
        for body in waiting:
            head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n"
            writer.write(head.encode() + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            length = int(answer.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
        writer.close()

    began = time.perf_counter()
    await asyncio.gather(*(connection() for _ in range(IN_FLIGHT)))
    return len(requests) / (time.perf_counter() - began)


def write(url: str, folder: Path, count: int, kinds: Sequence[str]) -> dict[str, Any]:
    """Chips per second of the captioner, the CPU it takes for one, and what its ledger says."""
    ledger = folder / f"ledger-{time.monotonic_ns()}.sqlite"
    writer = LiveCaptioner(recipe(concurrency=IN_FLIGHT), Access(LedgerPlace(str(ledger)), None, url, "bench"))
    chips = list(many_chips(count, kinds))
    began, cpu = time.perf_counter(), time.process_time()
    written = sum(1 for _ in writer.stream(chips))
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    with SqliteLedger(ledger) as opened:
        states = totals(opened.attempts())["attempts"]
    if written != count or states != {"answered": count}:
        raise RuntimeError(f"{written} of {count} written, ledger: {states}")
    return {"per_s": count / seconds, "cpu_ms": 1000.0 * cpu / count}


def compare(folder: Path, name: str, kinds: Sequence[str], count: int, sample: int, service_ms: int) -> dict[str, Any]:
    """One row: the captioner over ``count`` chips between two runs of the load generator."""
    requests = list(bodies(sample, kinds))
    own: list[float] = []
    with server_process(folder, "--service-ms", str(service_ms), "--slots", str(IN_FLIGHT)) as url:
        own.append(asyncio.run(load(url, requests)))
        ours = write(url, folder, count, kinds)
        own.append(asyncio.run(load(url, requests)))
        most = stats(url)["most_in_flight"]
    capacity = statistics.median(own)
    return {
        "row": name, "chips": count, "service_ms": service_ms, "most_in_flight": most,
        "server_per_s": spread(own), "captioner_per_s": round(ours["per_s"], 2),
        "share": round(ours["per_s"] / capacity, 4), "cpu_ms_per_chip": round(ours["cpu_ms"], 2),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--chips", type=int, default=10_000)
    parser.add_argument("--service-ms", type=int, default=1000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="p11-") as name:
        folder = Path(name)
        few = max(IN_FLIGHT, given.chips // 20)
        rows = [
            compare(folder, "one short caption per chip", SMALL, given.chips, 2 * few, given.service_ms),
            compare(folder, "short, long and questions", ALL, few, few // 2, 2500),
        ]
        bare = compare(folder, "a server that takes no time: what each can do at most", SMALL, few, few, 0)
    share = rows[0]["share"]
    holds = share >= 0.95
    record(
        "p11", figure=100 * share, unit="% of the server's own throughput, 64 in flight", target=95, holds=holds,
        floor="a plain load generator over bare sockets, same requests, same server", rows=[*rows, bare],
        packages=("openai", "pydantic"), further={"kills": "counted by make faults: results/faults.json"},
    )  # fmt: skip


if __name__ == "__main__":
    main()
