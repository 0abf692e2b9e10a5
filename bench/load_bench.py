#!/usr/bin/env python3
"""How long until a real engine has loaded a sealed model of 1.2 GB: the sentinel's start to its Ready, by each delivery.

    bench/load_bench.py [--rounds 3] [--limit BYTES_PER_SECOND]

Uses the programs in build/release/bin (or TB_BIN) and build/engine, all on this machine: the control plane sends, the sentinel
receives and opens, llama.cpp maps or reads, on the same cores. Round by round, so that load hits all of them alike.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "e2e"))
import chain  # noqa: E402

WAYS = [("tmpfs", "overlap"), ("mount", "overlap"), ("mount", "lazy"), ("tmpfs", "strict"), ("mount", "strict")]
SHAPE = ["--layers", "6", "--width", "2048", "--feed", "5504", "--heads", "16"]


def load(provider, contract, delivery, hydrate, limit):
    """Seconds until the engine was started, and until it had loaded the model."""
    provider.contract(contract, "large")
    began = time.monotonic()
    sentinel = provider.sentinel(contract, "large", TB_DELIVERY=delivery, TB_HYDRATE=hydrate, TB_CACHE="memory",
                                 TB_MAX_DOWNLOAD_BYTES_PER_SECOND=limit, **chain.engine_settings())
    try:
        sentinel.wait_for("the engine's start", lambda: "runtime started" in sentinel.log(), seconds=300)
        started = time.monotonic() - began
        sentinel.wait_for("the engine", lambda: '"runtime ready"' in sentinel.log(), seconds=300)
        ready = time.monotonic() - began
        sentinel.stop()
        return started, ready
    finally:
        sentinel.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--limit", type=int, help="of the download, bytes per second")
    given = parser.parse_args()
    ways = [way for way in WAYS if way[0] != "mount" or not chain.MOUNT_FAULT]
    provider = chain.Chain()
    try:
        plain = provider.shm + "/model.gguf"
        subprocess.run([sys.executable, chain.REPO + "/runtime/make_tiny_gguf.py", plain, *SHAPE], check=True, stdout=subprocess.DEVNULL)
        size = os.path.getsize(plain)
        provider.publish("large", plain)
        os.unlink(plain)
        took = {way: [] for way in ways}
        for number in range(given.rounds):
            for delivery, hydrate in ways:
                took[delivery, hydrate].append(load(provider, f"{delivery}-{hydrate}-{number}", delivery, hydrate, given.limit))
        print(f"{size} bytes, {given.rounds} rounds, load {os.getloadavg()[0]:.1f}; seconds, median (least to most)")
        for way, rows in took.items():
            started, ready = (f"{statistics.median(column):.2f} ({min(column):.2f} to {max(column):.2f})" for column in zip(*rows))
            print(f"{' '.join(way):16} engine started {started:24} loaded {ready}")
    finally:
        provider.close()


if __name__ == "__main__":
    main()
