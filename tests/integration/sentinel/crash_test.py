"""What a killed run leaves, and what a bad disk does: the real sentinel, its cache on a real file system.

spec: tbenc-v1 5 (ciphertext that is read again); wire 2.2 (TB_CACHE)
"""
import ctypes
import glob
import os
import random
import struct
import subprocess
import tempfile
import time
import unittest

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

import peers

CHUNK = peers.CHUNK
PLAIN = random.Random(5).randbytes(192 * CHUNK + 777)
RECORD = CHUNK + 20
MAGIC = b"TBJRNL01"
KILLS = 100
DELIVERIES = ("tmpfs", "fifo", "mount") if os.path.exists("/dev/fuse") and os.geteuid() == 0 else ("tmpfs", "fifo")


def present(cache):
    """What the journal of the one cache in this directory claims; None before there is one."""
    found = glob.glob(cache + "/*.journal")
    if not found:
        return None
    with open(found[0], "rb") as file:
        journal = file.read()
    if len(journal) < 64:
        return None
    assert journal[:8] in (MAGIC, bytes(8)), journal[:8]
    chunks = struct.unpack(">Q", journal[40:48])[0]
    return [i for i in range(chunks) if journal[64 + i // 8] >> (i % 8) & 1]


def opens(cache, index):
    """Whether the kept record is what was sealed, by other means than ours."""
    with open(glob.glob(cache + "/*.ciphertext")[0], "rb") as file:
        header = file.read(32)
        file.seek(32 + index * RECORD)
        record = file.read(RECORD)
    length = struct.unpack(">I", record[:4])[0]
    position = struct.pack(">Q", index)
    plain = AESGCM(peers.KEY).decrypt(header[15:19] + position, record[4:4 + length + 16], header[:19] + position + record[:4])
    return plain == PLAIN[index * CHUNK:index * CHUNK + length]


class Case(unittest.TestCase):
    def setUp(self):
        self.control_plane = peers.ControlPlane(peers.Asset(PLAIN))
        self.addCleanup(self.control_plane.close)
        self.runtime = peers.Runtime()
        self.addCleanup(self.runtime.close)

    def start(self, **settings):
        sentinel = peers.Sentinel(self.control_plane, f"http://127.0.0.1:{self.runtime.port}",
                                  **{"TB_DOWNLOAD_CHUNK_BYTES": 2 * RECORD, "TB_DELIVERY": "tmpfs"} | settings)
        self.addCleanup(sentinel.close)
        return sentinel

    def ready_with_the_model(self, sentinel):
        sentinel.wait_state("Ready")
        with open(sentinel.model, "rb") as file:
            self.assertEqual(file.read(), PLAIN)

    def again(self, sentinel):
        try:
            os.unlink(sentinel.work + "/state/addresses.json")
        except FileNotFoundError:
            pass
        sentinel.start()


class CrashTest(Case):
    def test_kill_9_at_100_random_moments(self):
        """Nothing that the journal claims is ever wrong, and each next run goes on where the last one was."""
        seed = int(os.environ.get("TB_TEST_SEED", time.time_ns() % 1_000_000))
        print("seed", seed, flush=True)
        moments = random.Random(seed)
        self.control_plane.piece_pause_s = 0.02
        sentinel = self.start(TB_DOWNLOAD_CONCURRENCY="4")
        cache = sentinel.work + "/cache"
        claimed, in_the_middle, after_all = set(), 0, 0
        for kill in range(KILLS):
            time.sleep(moments.uniform(0, 0.5))
            sentinel.process.kill()
            sentinel.process.wait()
            now = set(present(cache) or ())
            self.assertTrue(claimed <= now, "a killed run lost what was there before it")
            for index in moments.sample(sorted(now), min(len(now), 12)):
                self.assertTrue(opens(cache, index), index)
            claimed = now
            in_the_middle += 0 < len(now) < 193
            after_all += len(now) == 193
            if len(now) == 193 and moments.random() < 0.3:
                for file in glob.glob(cache + "/*"):
                    os.unlink(file)
                claimed = set()
            # Whatever the next run delivers by, it must take away what this one left.
            sentinel.environment["TB_DELIVERY"] = "tmpfs" if kill == KILLS - 1 else moments.choice(DELIVERIES)
            sentinel.environment["TB_HYDRATE"] = moments.choice(("overlap", "lazy", "strict"))
            if kill < KILLS - 1:
                self.again(sentinel)
        print(f"{in_the_middle} kills in the middle of a download, {after_all} after it", flush=True)
        self.assertGreater(in_the_middle, KILLS // 4, "the kills did not meet the download")
        sent = self.control_plane.sent_bytes
        self.again(sentinel)
        self.ready_with_the_model(sentinel)
        fetched = self.control_plane.sent_bytes - sent
        self.assertLess(fetched, (193 - len(claimed)) * RECORD + 10 * RECORD, "what was there was fetched again")
        self.assertEqual(sentinel.stop(), 0)

    def test_a_complete_cache_downloads_nothing_and_still_authorizes(self):
        sentinel = self.start()
        self.ready_with_the_model(sentinel)
        self.assertEqual(sentinel.stop(), 0)
        sent, asked = self.control_plane.sent_bytes, len(self.control_plane.requests)
        self.again(sentinel)
        self.ready_with_the_model(sentinel)
        self.assertEqual(self.control_plane.sent_bytes, sent)
        self.assertEqual(len(self.control_plane.requests), asked + 1)
        status = sentinel.status()["hydrate"]
        self.assertEqual(status["from_cache_bytes"], status["total"])

    def test_damaged_records_are_fetched_again_alone(self):
        sentinel = self.start()
        self.ready_with_the_model(sentinel)
        self.assertEqual(sentinel.stop(), 0)
        with open(glob.glob(sentinel.work + "/cache/*.ciphertext")[0], "r+b") as file:
            for index in (0, 77, 192):
                file.seek(32 + index * RECORD + 100)
                byte = file.read(1)[0]
                file.seek(-1, os.SEEK_CUR)
                file.write(bytes([byte ^ 4]))
        sent = self.control_plane.sent_bytes
        self.again(sentinel)
        self.ready_with_the_model(sentinel)
        self.assertEqual(self.control_plane.sent_bytes - sent, 2 * RECORD + 777 + 20)

    def test_another_version_of_the_asset_has_a_cache_of_its_own(self):
        sentinel = self.start()
        self.ready_with_the_model(sentinel)
        self.assertEqual(sentinel.stop(), 0)
        other = PLAIN[::-1]
        self.control_plane.asset = peers.Asset(other)
        self.again(sentinel)
        sentinel.wait_state("Ready")
        with open(sentinel.model, "rb") as file:
            self.assertEqual(file.read(), other)
        self.assertEqual(len(glob.glob(sentinel.work + "/cache/*.journal")), 2)


class DiskTest(Case):
    """On a disk of the test's own, made in a file: needs root and loop devices."""

    def setUp(self):
        super().setUp()
        self.place = tempfile.mkdtemp(prefix="tb-disk-")
        self.addCleanup(os.rmdir, self.place)

    def disk(self, mebibytes):
        image = tempfile.NamedTemporaryFile(prefix="tb-disk-", suffix=".img")
        self.addCleanup(image.close)
        os.truncate(image.name, mebibytes << 20)
        commands = (["mkfs.ext4", "-q", "-F", "-m", "0", "-O", "^has_journal", image.name], ["mount", "-o", "loop", image.name, self.place])
        for command in commands:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                self.skipTest(f"{' '.join(command[:3])}: {done.stderr.strip()}")
        self.addCleanup(subprocess.run, ["umount", self.place], check=True)
        os.chmod(self.place, 0o700)
        return image

    def test_a_full_disk_is_said_and_harms_nothing(self):
        self.disk(24)
        filler = self.place + "/filler"
        with open(filler, "wb") as file:
            file.write(bytes(14 << 20))
        sentinel = self.start(TB_TARGET_DIR=self.place)
        sentinel.wait_for("a clear error", lambda: (sentinel.status()["last_error"] or {}).get("code") == "disk_full")
        self.assertIn("free", sentinel.status()["last_error"]["hint"])
        self.assertEqual(self.control_plane.sent_bytes, 0, "nothing is fetched that has no place")
        os.unlink(filler)
        sentinel.process.kill()
        sentinel.process.wait()
        self.again(sentinel)
        self.ready_with_the_model(sentinel)
        sentinel.close()

    def test_a_disk_that_cannot_be_read_costs_a_download(self):
        image = self.disk(24)
        sentinel = self.start(TB_TARGET_DIR=self.place)
        self.ready_with_the_model(sentinel)
        self.assertEqual(sentinel.stop(), 0)
        ciphertext = glob.glob(self.place + "/*.ciphertext")[0]
        ctypes.CDLL(None).sync()
        # What lies in the last third of the image can no longer be read; what is cached in memory is dropped first.
        os.truncate(image.name, 9 << 20)
        with open(ciphertext, "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            lost = 0
            for index in range(193):
                length = RECORD if index < 192 else 777 + 20
                try:
                    os.pread(file.fileno(), length, 32 + index * RECORD)
                except OSError:
                    lost += length
        self.assertTrue(0 < lost < len(PLAIN), lost)
        sent = self.control_plane.sent_bytes
        self.again(sentinel)
        self.ready_with_the_model(sentinel)
        # The header may be lost, too.
        self.assertIn(self.control_plane.sent_bytes - sent, (lost, lost + 32), "only what could not be read is fetched again")
        self.assertGreater(sentinel.status()["hydrate"]["cache_faults"], 0)
        sentinel.close()


if __name__ == "__main__":
    unittest.main(verbosity=2)
