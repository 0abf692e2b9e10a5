#!/usr/bin/env python3
"""encrypt and decrypt of one file against age and against what the machine allows, all in the same run.

Each round runs everything once, one after the other, so that a slow minute is slow for all; ratios are taken round by
round. Called by scripts/bench.sh.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time


def run(argv, stdout=subprocess.DEVNULL, stdin=None, pass_fds=()):
    """Wall seconds, peak KiB resident of one command; ends the program if it fails."""
    start = time.monotonic()
    child = subprocess.Popen(argv, stdin=stdin, stdout=stdout, stderr=subprocess.PIPE, pass_fds=pass_fds)
    if stdout not in (subprocess.DEVNULL, None) and hasattr(stdout, "close"):
        stdout.close()
    _, status, usage = os.wait4(child.pid, 0)
    took = time.monotonic() - start
    said = child.stderr.read().decode(errors="replace")
    child.stderr.close()
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        sys.exit(f"bench: {' '.join(map(str, argv))} ended with {child.returncode}: {said.strip()}")
    return took, usage.ru_maxrss


def run_to_pipe(argv):
    """The same with standard output read by cat; the time is until the reader saw the end."""
    reading, writing = os.pipe()
    start = time.monotonic()
    cat = subprocess.Popen(["cat"], stdin=reading, stdout=subprocess.DEVNULL)
    os.close(reading)
    _, resident = run(argv, stdout=os.fdopen(writing, "wb"))
    cat.wait()
    return time.monotonic() - start, resident


def limits_of(costs):
    """Seconds per byte that no program can beat: the slowest stream, or all the work spread over the cores."""
    cores = costs["cores"]
    gcm, sha, read, write = costs["aes_gcm"], costs["sha256"], costs["read"], costs["first_write"]
    return {
        "encrypt": max(sha, write, (gcm + sha + read + write) / cores),
        "decrypt": max(write, (gcm + read + write) / cores),
        "decrypt to pipe": max(costs["pipe"], (gcm + read + costs["pipe_cpu"]) / cores),
    }


class Bench:
    def __init__(self, args):
        self.args = args
        self.at = pathlib.Path(args.directory)
        self.tb = args.trustbridge
        self.whole = args.tbenc_whole
        self.times = {}
        self.resident = {}
        self.ratios = {}

    def path(self, name):
        return str(self.at / name)

    def drop(self, *names):
        for name in names:
            (self.at / name).unlink(missing_ok=True)

    def note(self, who, what, result):
        took, resident = result
        self.times.setdefault((who, what), []).append(took)
        self.resident[(who, what)] = max(resident, self.resident.get((who, what), 0))

    def prepare(self):
        bytes_wanted = self.args.mib << 20
        with open(self.path("plain"), "wb") as out:
            key = os.urandom(16).hex()
            source = subprocess.Popen(["openssl", "enc", "-aes-128-ctr", "-K", key, "-iv", "0" * 32, "-in", "/dev/zero"],
                                      stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            left = bytes_wanted
            while left > 0:
                piece = source.stdout.read(min(left, 1 << 20))
                out.write(piece)
                left -= len(piece)
            source.kill()
            source.wait()
        made = subprocess.run(["age-keygen", "-o", self.path("age.key")], capture_output=True, text=True, check=True)
        self.recipient = made.stderr.split()[-1]
        # Memory that the host took back is slow the first time: touch as much as the rounds will, once.
        with open(self.path("warm"), "wb") as warm:
            block = bytes(4 << 20)
            for _ in range(2 * self.args.mib // 4):
                warm.write(block)
        self.drop("warm")

    def encrypt_argv(self):
        if self.tb:
            return [self.tb, "encrypt", "--quiet", "--in", self.path("plain"), "--asset-id", "bench", "--out",
                    self.path("sealed"), "--manifest", self.path("manifest"), "--key-file", self.path("key")]
        return [self.whole, "encrypt", self.path("plain"), self.path("sealed")]

    def decrypt_argv(self, out):
        if self.tb:
            return [self.tb, "decrypt", "--quiet", "--in", self.path("sealed"), "--manifest", self.path("manifest"),
                    "--key-file", self.path("key"), "--out", out]
        return [self.whole, "decrypt", self.path("sealed"), out]

    def round(self):
        costs = json.loads(subprocess.run([self.args.limits, self.path("plain"), str(self.at)], capture_output=True,
                                          text=True, check=True).stdout)
        self.drop("sealed", "manifest", "key", "aged")
        self.note("trustbridge", "encrypt", run(self.encrypt_argv()))
        self.note("age", "encrypt", run(["age", "-r", self.recipient, "-o", self.path("aged"), self.path("plain")]))
        age_back = ["age", "-d", "-i", self.path("age.key")]
        self.note("trustbridge", "decrypt", run(self.decrypt_argv(self.path("back"))))
        subprocess.run(["cmp", self.path("plain"), self.path("back")], check=True)
        self.drop("back")
        self.note("age", "decrypt", run(age_back + ["-o", self.path("back"), self.path("aged")]))
        self.drop("back")
        self.note("trustbridge", "decrypt to pipe", run_to_pipe(self.decrypt_argv("-")))
        self.note("age", "decrypt to pipe", run_to_pipe(age_back + [self.path("aged")]))
        limit = limits_of(costs)
        for what, ns in limit.items():
            ours = self.times[("trustbridge", what)][-1]
            self.ratios.setdefault((what, "age"), []).append(self.times[("age", what)][-1] / ours)
            self.ratios.setdefault((what, "limit"), []).append(ns * 1e-9 * (self.args.mib << 20) / ours)
        return costs

    def random_reads(self):
        """4 KiB at random places of a whole file, by the library (the command has no such verb)."""
        self.drop("sealed", "aged")
        run([self.whole, "encrypt", self.path("plain"), self.path("sealed")])
        said = subprocess.run([self.args.random_read, self.path("sealed"), "200"], capture_output=True, text=True,
                              check=True).stdout
        got = json.loads(said)
        print(f"read_at of 4 KiB at random: {got['read_at_us']} us, reading and opening one chunk {got['open_chunk_us']} us: "
              f"{got['read_at_us'] / got['open_chunk_us']:.2f} times (opening alone {got['open_only_us']} us)")

    def report(self, costs):
        size = self.args.mib << 20
        middle = {name: statistics.median(c[name] for c in costs) for name in costs[0]}
        print(f"{self.args.mib} MiB, {len(costs)} rounds, medians; {'trustbridge' if self.tb else 'library'} against "
              f"age {self.args.age_version}; every destination is a new file")
        print("one core: " + ", ".join(f"{name} {1 / middle[key]:.2f} GB/s" for name, key in [
            ("AES-256-GCM", "aes_gcm"), ("SHA-256", "sha256"), ("read", "read"), ("first write", "first_write"),
            ("write to a read pipe", "pipe")]) + f"; {middle['cores']:.0f} cores")
        print(f"{'':16} {'GB/s':>6} {'age':>6} {'x age':>6} {'of limit':>9} {'MiB':>6} {'age MiB':>8}")
        for what in ("encrypt", "decrypt", "decrypt to pipe"):
            ours = statistics.median(self.times[("trustbridge", what)])
            theirs = statistics.median(self.times[("age", what)])
            print(f"{what:16} {size / ours / 1e9:6.2f} {size / theirs / 1e9:6.2f} "
                  f"{statistics.median(self.ratios[(what, 'age')]):6.2f} "
                  f"{100 * statistics.median(self.ratios[(what, 'limit')]):8.0f}% "
                  f"{self.resident[('trustbridge', what)] / 1024:6.1f} {self.resident[('age', what)] / 1024:8.1f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mib", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--directory", required=True, help="an empty folder in tmpfs")
    parser.add_argument("--trustbridge", help="the command; without it the library alone is measured")
    parser.add_argument("--tbenc-whole", required=True)
    parser.add_argument("--random-read", required=True)
    parser.add_argument("--limits", required=True)
    args = parser.parse_args()
    args.age_version = subprocess.run(["age", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    bench = Bench(args)
    bench.prepare()
    costs = []
    for number in range(args.rounds):
        costs.append(bench.round())
        print(f"round {number + 1} of {args.rounds}, load {os.getloadavg()[0]:.1f}", file=sys.stderr)
    bench.report(costs)
    bench.random_reads()


if __name__ == "__main__":
    main()
