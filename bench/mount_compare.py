#!/usr/bin/env python3
"""A mounted model read by each means, against a file system of zeros, decryption alone and gocryptfs, in the same run.

Every round mounts each of them anew, so that "cold" is cold, and does everything once, one after the other; ratios are
taken round by round. The limit of a cold sequential read is what no mount can beat on these cores: the file system of
zeros itself, or its processor time on both sides plus that of decryption, spread over the cores, whichever is more.
Called by scripts/bench.sh --mount.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

WAYS = ("cached", "warm", "direct", "mapped", "random", "random x10")


def run(*argv, **rest):
    done = subprocess.run([str(a) for a in argv], capture_output=True, text=True, check=False, **rest)
    if done.returncode != 0:
        sys.exit(f"bench: {' '.join(map(str, argv))} ended with {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def cpu_of(pid):
    """Processor seconds of every thread that a process has."""
    total = 0
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        try:
            total += int((task / "schedstat").read_text().split()[0])
        except (FileNotFoundError, ProcessLookupError):
            pass  # has ended
    return total / 1e9


def peak_of(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0


class Served:
    """A mounted file system, for the time of a `with`."""

    def __init__(self, view, argv):
        self.view, self.argv = view, [str(a) for a in argv]

    def __enter__(self):
        self.view.mkdir(exist_ok=True)
        self.process = subprocess.Popen(self.argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        end = time.monotonic() + 60
        while not os.path.ismount(self.view):
            if time.monotonic() > end or self.process.poll() is not None:
                sys.exit(f"bench: {' '.join(self.argv)} does not mount")
            time.sleep(0.01)
        return self

    def __exit__(self, *_):
        if os.geteuid() == 0:
            run("umount", self.view)
        else:
            run("fusermount3", "-u", self.view)
        self.process.stdin.close()
        self.process.wait(timeout=60)


class Bench:
    def __init__(self, args):
        self.args, self.at = args, pathlib.Path(args.directory)
        self.bytes = args.mib << 20
        self.seen = {}  # (who, way) -> [{"wall", "cpu", "served_cpu"}]
        self.peak = {}

    def prepare(self):
        plain = self.at / "plain"
        run("sh", "-c", f'openssl enc -aes-128-ctr -nosalt -pass pass:bench -in /dev/zero 2>/dev/null | head -c {self.bytes} > "$0"', plain)
        run(self.args.trustbridge, "encrypt", plain, "--asset-id", "bench", "--out", self.at / "model.tbenc", "--quiet")
        (self.at / "password").write_text("bench\n")
        (self.at / "crypt").mkdir()
        run("gocryptfs", "-init", "-q", "-plaintextnames", "-scryptn", "10", "-passfile", self.at / "password", self.at / "crypt")
        with self.gocryptfs(read_only=False):
            run("cp", plain, self.at / "view-gocryptfs" / "plain")

    def gocryptfs(self, read_only=True):
        flags = ["-ro"] if read_only else []
        return Served(self.at / "view-gocryptfs", ["gocryptfs", "-fg", "-q", *flags, "-passfile", self.at / "password",
                                                   self.at / "crypt", self.at / "view-gocryptfs"])

    def served(self, who):
        if who == "gocryptfs":
            return self.gocryptfs(), "plain"
        if who == "zeros":
            return Served(self.at / "view-zeros", [self.args.mount_bench, "zeros", self.bytes, self.at / "view-zeros"]), "zeros"
        return Served(self.at / "view", [self.args.trustbridge, "mount", "--in", self.at / "model.tbenc", "--key-file",
                                         self.at / "model.tbenc.key", self.at / "view"]), "plain"

    def read(self, who, way, served, name):
        how = "cached" if way == "warm" else way.split()[0]
        before = cpu_of(served.process.pid)
        result = json.loads(run(self.args.mount_bench, "read", how, served.view / name, self.reads(way)))
        result["served_cpu"] = cpu_of(served.process.pid) - before
        self.seen.setdefault((who, way), []).append(result)
        self.peak[who] = max(self.peak.get(who, 0), peak_of(served.process.pid))

    def reads(self, way):
        return self.args.reads * (10 if way == "random x10" else 1)

    def round(self):
        for ways in (("cached", "warm"), ("direct",), ("mapped",), ("random",), ("random x10",)):
            for who in ("zeros", "trustbridge", "gocryptfs"):
                served, name = self.served(who)
                with served:
                    for way in ways:
                        self.read(who, way, served, name)
        verified = json.loads(run(self.args.mount_bench, "verify", self.at / "model.tbenc", self.at / "model.tbenc.key"))
        self.seen.setdefault(("verify", "cached"), []).append(verified)

    def ratios(self, of):
        return [of(n) for n in range(len(self.seen[("verify", "cached")]))]

    def limit(self, number):
        """Seconds of a cold sequential read through the page cache that no mount can beat, and by what."""
        zeros, verify = self.seen[("zeros", "cached")][number], self.seen[("verify", "cached")][number]
        work = (zeros["cpu"] + zeros["served_cpu"] + verify["cpu"]) / (os.cpu_count() or 1)
        return max(zeros["wall"], work)

    def report(self):
        median = statistics.median
        print(f"\n{self.args.mib} MiB, medians of {self.args.rounds} rounds; cold unless it says warm")
        print(f"{'':>14} {'zeros':>9} {'ours':>9} {'gocryptfs':>9} {'times gocryptfs':>16}")
        for way in WAYS:
            walls = {who: median(r["wall"] for r in self.seen[(who, way)]) for who in ("zeros", "trustbridge", "gocryptfs")}
            ratio = median(self.ratios(lambda n: self.seen[("gocryptfs", way)][n]["wall"] / self.seen[("trustbridge", way)][n]["wall"]))
            by_read = way.startswith("random")
            figures = [f"{self.reads(way) / s:,.0f}/s" if by_read else f"{self.bytes / s / 1e9:.2f}" for s in walls.values()]
            print(f"{way:>14} " + " ".join(f"{figure:>9}" for figure in figures) + f" {ratio:>16.2f}")
        zeros, ours = self.seen[("zeros", "cached")], self.seen[("trustbridge", "cached")]
        verify = self.seen[("verify", "cached")]
        print(f"\ndecryption alone: {self.bytes / median(r['wall'] for r in verify) / 1e9:.2f} GB/s, "
              f"{median(r['cpu'] for r in verify):.2f} s of processor time")
        print(f"zeros, cold: {median(r['wall'] for r in zeros):.2f} s, processor {median(r['cpu'] for r in zeros):.2f} s reading, "
              f"{median(r['served_cpu'] for r in zeros):.2f} s serving")
        print(f"ours, cold: {median(r['wall'] for r in ours):.2f} s, processor {median(r['cpu'] for r in ours):.2f} s reading, "
              f"{median(r['served_cpu'] for r in ours):.2f} s serving")
        limits = self.ratios(self.limit)
        rounds = [format(100 * self.limit(n) / ours[n]["wall"], ".0f") for n in range(len(ours))]
        print(f"limit of a cold read: {self.bytes / median(limits) / 1e9:.2f} GB/s ({median(limits):.2f} s); ours is "
              f"{100 * median(self.ratios(lambda n: self.limit(n) / ours[n]['wall'])):.0f} % of it "
              f"(rounds: {', '.join(rounds)})")
        print(f"resident at most: ours {self.peak['trustbridge']:.0f} MiB, gocryptfs {self.peak['gocryptfs']:.0f} MiB")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--mib", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--reads", type=int, default=20000, help="4 KiB reads at random")
    parser.add_argument("--directory", required=True, help="an empty folder in tmpfs")
    parser.add_argument("--trustbridge", required=True)
    parser.add_argument("--mount-bench", required=True)
    args = parser.parse_args()
    bench = Bench(args)
    bench.prepare()
    for number in range(args.rounds):
        bench.round()
        print(f"round {number + 1} of {args.rounds}, load {os.getloadavg()[0]:.1f}", file=sys.stderr)
    bench.report()


if __name__ == "__main__":
    main()
