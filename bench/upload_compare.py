#!/usr/bin/env python3
"""Uploads against Azurite and a WebDAV nginx, in the same run: our upload beside Azure's own library with the same block size and
concurrency; encrypt --upload beside encrypt alone and upload alone; the memory of each.

Azurite keeps everything in memory and is started anew for each upload, so that none is slowed by what lies there. Its one thread
is on the same cores. The library sends no checksum of its blocks; ours hashes the file (SHA-256, for its proof) and sends what Azure
checks, a CRC64 of each block, which Azurite started with --loose takes and ignores. Without --loose it wants MD5 and hashes each
block once more on its one thread: that is a row of its own. Ratios are taken round by round. Called by scripts/bench.sh --upload.
"""
import argparse
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import time

REPO = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPO / "tests" / "cli"))
from azurite import ACCOUNT, NODE, Azurite  # noqa: E402
from webdav import Nginx  # noqa: E402

MIB = 1 << 20


def timed(*argv, environment=None):
    """Seconds, peak resident MiB, processor seconds of a process that must succeed; and its output."""
    start = time.monotonic()
    process = subprocess.Popen([str(a) for a in argv], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               env={**os.environ, **(environment or {})})
    out, err = process.stdout.read(), process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"bench: {' '.join(map(str, argv))} ended with {process.returncode}: {err.decode().strip()}")
    return time.monotonic() - start, usage.ru_maxrss / 1024, usage.ru_utime + usage.ru_stime, out.decode()


class Bench:
    def __init__(self, options):
        self.options = options
        self.folder = pathlib.Path(options.directory)
        self.plain = self.folder / "weights.gguf"
        with open(self.plain, "wb") as file:
            block = os.urandom(MIB)
            for number in range(options.mib):
                file.write(number.to_bytes(8, "big") + block[8:])
        self.tb("encrypt", self.plain, "--asset-id", "m", "--out", self.folder / "m.tbenc")

    def tb(self, *arguments):
        return timed(self.options.trustbridge, *arguments, "--quiet")

    def azurite(self, run, *flags):
        azurite = Azurite(flags=["--skipApiVersionCheck", *flags])  # the library speaks a version that is newer than Azurite
        try:
            # Its first requests take it tenths of a second each, whoever sends them: none of those is timed.
            azurite.ask("PUT", "/models", "restype=container")
            azurite.ask("PUT", "/models/warm", "blockid=QUFB&comp=block", bytes(MIB))
            azurite.ask("PUT", "/models/warm", "comp=blocklist", b"<BlockList><Latest>QUFB</Latest></BlockList>")
            azurite.ask("HEAD", "/models/warm")
            key = self.folder / "account.key"
            key.write_text(azurite.key_base64())
            key.chmod(0o600)
            at = ["--storage-account", ACCOUNT, "--endpoint", azurite.endpoint(), "--account-key-file", key, "--create-container"]
            return run(azurite, at)
        finally:
            azurite.close()

    def nginx(self, run):
        folder = self.folder / "nginx"
        nginx = Nginx(folder)
        try:
            return run(nginx, ["--store", nginx.url()])
        finally:
            nginx.close()
            shutil.rmtree(folder)

    def library(self, parallel):
        def run(azurite, _):
            connection = self.folder / "connection"
            connection.write_text(azurite.connection_string())
            connection.chmod(0o600)
            _, resident, cpu, out = timed(NODE, REPO / "bench/storage_blob/upload.mjs", connection, "models", "m/model.tbenc",
                                     self.folder / "m.tbenc", 8 * MIB, parallel,
                                     environment={"TB_STORAGE_BLOB": self.options.storage_blob})
            return float(out), resident, cpu

        return self.azurite(run, "--loose")

    def upload(self, parallel):
        return lambda _, at: self.tb("upload", "--encrypted-file", self.folder / "m.tbenc", *at, "--parallel", parallel)[:3]

    def encrypt(self):
        for name in ("e.tbenc", "e.tbenc.key", "e.manifest.json"):
            (self.folder / name).unlink(missing_ok=True)
        return self.tb("encrypt", self.plain, "--asset-id", "m", "--out", self.folder / "e.tbenc")[:3]

    def encrypt_upload(self, parallel):
        def run(_, at):
            for name in ("s.tbenc.key", "s.manifest.json"):
                (self.folder / name).unlink(missing_ok=True)
            return self.tb("encrypt", self.plain, "--asset-id", "m", "--out", self.folder / "s.tbenc", "--upload", *at, "--parallel",
                           parallel)[:3]

        return run


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--directory", required=True)
    parser.add_argument("--trustbridge", required=True)
    parser.add_argument("--storage-blob", required=True)
    parser.add_argument("--mib", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=3)
    bench = Bench(parser.parse_args())
    ways = {
        "library, 4 at once": lambda: bench.library(4),
        "upload, 4 at once": lambda: bench.azurite(bench.upload(4), "--loose"),
        "upload, MD5, 4 at once": lambda: bench.azurite(bench.upload(4)),
        "library, 16 at once": lambda: bench.library(16),
        "upload, 16 at once": lambda: bench.azurite(bench.upload(16), "--loose"),
        "encrypt": bench.encrypt,
        "encrypt --upload, 4": lambda: bench.azurite(bench.encrypt_upload(4), "--loose"),
        "encrypt --upload, 16": lambda: bench.azurite(bench.encrypt_upload(16), "--loose"),
        "nginx: upload": lambda: bench.nginx(bench.upload(4)),
        "nginx: encrypt --upload": lambda: bench.nginx(bench.encrypt_upload(4)),
    }
    seconds, busy, resident = {way: [] for way in ways}, {way: [] for way in ways}, {way: 0.0 for way in ways}
    for number in range(bench.options.rounds):
        for way, run in ways.items():
            took, peak, cpu = run()
            seconds[way].append(took)
            busy[way].append(cpu)
            resident[way] = max(resident[way], peak)
        print(f"round {number + 1}: " + ", ".join(f"{way} {seconds[way][-1]:.2f} s" for way in ways), flush=True)
    print(f"\n{'':26}{'MiB/s':>8}{'processor s/GiB':>17}{'resident MiB':>14}")
    for way in ways:
        print(f"{way:26}{bench.options.mib / statistics.median(seconds[way]):8.0f}"
              f"{1024 / bench.options.mib * statistics.median(busy[way]):17.2f}{resident[way]:14.0f}")

    def ratio(of, to):
        return statistics.median(max(seconds[one][i] for one in of) / seconds[to][i] for i in range(bench.options.rounds))

    print()
    print(f"upload against the library, 4 at once:  {ratio(['library, 4 at once'], 'upload, 4 at once'):.2f} times its speed")
    print(f"upload against the library, 16 at once: {ratio(['library, 16 at once'], 'upload, 16 at once'):.2f}")
    print(f"upload with MD5 against the library:    {ratio(['library, 4 at once'], 'upload, MD5, 4 at once'):.2f}")
    for name, of, to in (("Azurite, 4", "upload, 4 at once", "encrypt --upload, 4"),
                         ("Azurite, 16", "upload, 16 at once", "encrypt --upload, 16"),
                         ("nginx", "nginx: upload", "nginx: encrypt --upload")):
        print(f"encrypt --upload to {name}: {100 * ratio(['encrypt', of], to):.0f} % of the slower of encrypt alone and upload alone")


main()
