"""What a runtime opens, by each delivery, and what happens to it when something goes wrong: the real binary.

spec: wire 2.2 (TB_DELIVERY, TB_HYDRATE, TB_SOURCE), 2.3
"""
import errno
import json
import mmap
import os
import random
import subprocess
import tempfile
import threading
import unittest

import peers

CHUNK = peers.CHUNK
PLAIN = random.Random(11).randbytes(300 * CHUNK + 99)


def can_mount():
    return os.path.exists("/dev/fuse") and os.geteuid() == 0


class Case(unittest.TestCase):
    def setUp(self):
        self.control_plane = peers.ControlPlane(peers.Asset(PLAIN), lease_seconds=30)
        self.addCleanup(self.control_plane.close)
        self.runtime = peers.Runtime()
        self.addCleanup(self.runtime.close)

    def start(self, **settings):
        sentinel = peers.Sentinel(self.control_plane, f"http://127.0.0.1:{self.runtime.port}", **settings)
        self.addCleanup(sentinel.close)
        return sentinel

    def model(self, sentinel):
        with open(sentinel.model, "rb") as file:
            return file.read()

    def hold_store(self):
        self.control_plane.go_on.clear()
        self.addCleanup(self.control_plane.go_on.set)


@unittest.skipUnless(can_mount(), "NOT PROVEN: no /dev/fuse, or not root")
class MountTest(Case):
    def test_whoever_maps_or_reads_sees_the_model(self):
        sentinel = self.start(TB_DELIVERY="mount")
        sentinel.wait_state("Ready")
        self.assertEqual(sentinel.status()["delivery"]["kind"], "mount")
        with open("/proc/self/mountinfo", encoding="utf-8") as table:
            row = [line for line in table if sentinel.shm in line][0]
        for option in ("ro", "nosuid", "nodev", "noexec"):
            self.assertIn(option, row.split()[5].split(","))
        self.assertEqual(self.model(sentinel), PLAIN)
        with open(sentinel.model, "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as view:
            self.assertEqual(view[:], PLAIN)
        failures = []

        def read_at_random(seed):
            places = random.Random(seed)
            with open(sentinel.model, "rb") as file:
                for _ in range(40):
                    at = places.randrange(len(PLAIN))
                    if os.pread(file.fileno(), 4096, at) != PLAIN[at:at + 4096]:
                        failures.append(at)

        readers = [threading.Thread(target=read_at_random, args=(seed,)) for seed in range(64)]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join()
        self.assertEqual(failures, [])
        with self.assertRaises(OSError) as refused:
            open(sentinel.model, "r+b").close()
        self.assertEqual(refused.exception.errno, errno.EROFS)
        self.assertEqual(sentinel.stop(), 0)
        self.assertEqual(os.listdir(sentinel.shm + "/model"), [])

    def test_lazy_is_ready_before_the_model_has_come(self):
        self.hold_store()
        sentinel = self.start(TB_DELIVERY="mount", TB_HYDRATE="lazy", TB_DOWNLOAD_CHUNK_BYTES=CHUNK)
        self.assertTrue(self.control_plane.stalled.wait(20))
        # The header alone is let through: the store then goes on at the pace of a slow line.
        self.control_plane.piece_pause_s = 0.05
        self.control_plane.go_on.set()
        sentinel.wait_state("Ready")
        at = sentinel.status()["hydrate"]
        self.assertLess(at["bytes"], at["total"])
        with open(sentinel.model, "rb") as file:
            last = len(PLAIN) - 50
            self.assertEqual(os.pread(file.fileno(), 50, last), PLAIN[last:], "what is read comes before all else")
            self.assertLess(sentinel.status()["hydrate"]["bytes"], at["total"])
        self.control_plane.piece_pause_s = 0
        self.assertEqual(self.model(sentinel), PLAIN)
        sentinel.wait_for("all of it", lambda: sentinel.status()["hydrate"]["bytes"] == at["total"])
        self.assertEqual(self.control_plane.sent_bytes, at["total"], "each byte is fetched once")
        self.assertEqual(sentinel.status()["state"], "Ready")
        sentinel.wait_for("a word about it", lambda: "everything has come and is verified" in sentinel.log())

    def test_lazy_ends_with_the_first_chunk_that_is_not_the_models(self):
        cipher = bytearray(self.control_plane.asset.cipher)
        cipher[200 * (CHUNK + 20)] ^= 1
        self.control_plane.asset.cipher = bytes(cipher)
        sentinel = self.start(TB_DELIVERY="mount", TB_HYDRATE="lazy")
        sentinel.wait_state("Suspended")
        self.assertEqual(sentinel.status()["last_error"]["code"], "tag_mismatch")
        sentinel.wait_for("an end of the mount", lambda: os.listdir(sentinel.shm + "/model") == [])

    def test_a_killed_sentinels_mount_is_taken_away_by_the_next(self):
        for after in ("mount", "tmpfs"):
            with self.subTest(after):
                sentinel = self.start(TB_DELIVERY="mount")
                sentinel.wait_state("Ready")
                with open(sentinel.model, "rb") as held:
                    held.read(10)
                    sentinel.process.kill()
                    sentinel.process.wait()
                    with self.assertRaises(OSError):
                        open(sentinel.model, "rb").close()
                    os.unlink(sentinel.work + "/state/addresses.json")
                    self.control_plane.mode = "denied"
                    sentinel.environment["TB_DELIVERY"] = after
                    sentinel.start()
                    sentinel.wait_state("Suspended")
                    self.assertEqual(os.listdir(sentinel.shm + "/model"), [])
                self.control_plane.mode = "ok"
                sentinel.wait_state("Ready", seconds=90)
                self.assertEqual(self.model(sentinel), PLAIN)
                sentinel.close()

    def test_a_reader_that_waits_does_not_hold_up_a_suspension(self):
        sentinel = self.start(TB_DELIVERY="mount", TB_HYDRATE="lazy", TB_DOWNLOAD_CONCURRENCY=1, TB_DOWNLOAD_CHUNK_BYTES=CHUNK)
        self.control_plane.piece_pause_s = 0.2
        sentinel.wait_state("Ready")
        outcome = []

        def read():
            try:
                with open(sentinel.model, "rb") as file:
                    outcome.append(file.read())
            except OSError as error:
                outcome.append(error.errno)

        reader = threading.Thread(target=read)
        reader.start()
        self.control_plane.mode = "denied"
        sentinel.wait_state("Suspended")
        reader.join(timeout=20)
        self.assertFalse(reader.is_alive(), "a reader still waits")
        self.assertIn(outcome[0], (errno.EIO, errno.ENOTCONN, errno.ECONNABORTED))

    def test_auto_is_a_mount_for_a_runtime_of_ours_and_memory_for_others(self):
        own = json.dumps(["/usr/bin/python3", "-c", "import http.server, sys\nopen(sys.argv[1], 'rb').read()\n"
                          "class H(http.server.BaseHTTPRequestHandler):\n"
                          " def do_GET(self): self.send_response(200); self.send_header('Content-Length', '0'); self.end_headers()\n"
                          "http.server.HTTPServer(('127.0.0.1', int(sys.argv[2])), H).serve_forever()", "{model_path}", "{runtime_port}"])
        sentinel = self.start(TB_RUNTIME_COMMAND=own, TB_RUNTIME_URL="http://127.0.0.1:0")
        sentinel.wait_state("Ready")
        self.assertEqual(sentinel.status()["delivery"]["kind"], "mount")
        sentinel.close()
        # A volume that the orchestrator mounted, and a directory that others use: files in memory do with both.
        place = tempfile.mkdtemp(prefix="tb-volume-", dir="/dev/shm")
        self.addCleanup(subprocess.run, ["rm", "-rf", place], check=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=0711", "volume", place], check=True)
        self.addCleanup(subprocess.run, ["umount", "-l", place], check=True)
        os.makedirs(place + "-used", mode=0o711)
        self.addCleanup(subprocess.run, ["rm", "-rf", place + "-used"], check=True)
        with open(place + "-used/bystander", "w", encoding="utf-8") as file:
            file.write("not ours")
        for directory in (place, place + "-used"):
            sentinel = self.start(TB_RUNTIME_COMMAND=own, TB_RUNTIME_URL="http://127.0.0.1:0", TB_MODEL_DIR=directory)
            sentinel.wait_state("Ready")
            self.assertEqual(sentinel.status()["delivery"]["kind"], "tmpfs", directory)
            self.assertEqual(sentinel.stop(), 0)
        self.assertEqual(os.listdir(place + "-used"), ["bystander"])
        shared = subprocess.run(["findmnt", "-no", "PROPAGATION", "-T", "/dev/shm"], capture_output=True, text=True, check=True).stdout
        sentinel = self.start()
        sentinel.wait_state("Ready")
        self.assertEqual(sentinel.status()["delivery"]["kind"], "mount" if "shared" in shared else "tmpfs")


class MemoryTest(Case):
    def test_lazy_without_a_mount_is_overlap_and_says_so(self):
        sentinel = self.start(TB_DELIVERY="tmpfs", TB_HYDRATE="lazy")
        sentinel.wait_state("Ready")
        self.assertEqual(self.model(sentinel), PLAIN)
        self.assertIn("lazy needs a mount", sentinel.log())

    def test_connections_are_found_and_a_limit_is_kept(self):
        limit = 8 << 20
        sentinel = self.start(TB_DELIVERY="tmpfs", TB_DOWNLOAD_CONCURRENCY="auto", TB_MAX_DOWNLOAD_BYTES_PER_SECOND=limit)
        seen = []
        sentinel.wait_for("progress", lambda: seen.append(sentinel.status()["hydrate"]) or 0 < seen[-1]["bytes"] < seen[-1]["total"])
        sentinel.wait_state("Ready")
        self.assertEqual(self.model(sentinel), PLAIN)
        for hydrate in seen:
            self.assertLess(hydrate["bytes_per_second"], 2 * limit)

    def test_a_folder_that_was_carried_here_needs_no_store(self):
        for delivery in ("tmpfs", "mount", "fifo"):
            if delivery == "mount" and not can_mount():
                continue
            with self.subTest(delivery):
                sentinel = self.start(TB_DELIVERY=delivery, TB_SOURCE="file:/nowhere/at/all")
                sentinel.wait_for("a refusal", lambda: sentinel.status()["last_error"])
                self.assertEqual(sentinel.status()["last_error"]["code"], "file_not_found")
                sentinel.close()
                folder = sentinel.work + "-carried"
                os.makedirs(folder)
                self.addCleanup(subprocess.run, ["rm", "-rf", folder], check=True)
                for name, content in (("model.tbenc", self.control_plane.asset.cipher), ("model.manifest.json", self.control_plane.asset.manifest)):
                    with open(f"{folder}/{name}", "wb") as file:
                        file.write(content)
                gets = self.control_plane.blob_gets
                sentinel = self.start(TB_DELIVERY=delivery, TB_SOURCE="file:" + folder)
                sentinel.wait_state("Ready")
                if delivery == "fifo":
                    with open(sentinel.shm + "/pipe", "rb") as pipe:
                        self.assertEqual(pipe.read(), PLAIN)
                else:
                    self.assertEqual(self.model(sentinel), PLAIN)
                self.assertEqual(self.control_plane.blob_gets, gets, "the store was asked")
                self.assertFalse(os.path.exists(sentinel.work + "/cache"), "a second copy was made")
                sentinel.close()

    def test_progress_is_in_metrics_and_status(self):
        sentinel = self.start(TB_DELIVERY="tmpfs")
        sentinel.wait_state("Ready")
        text = sentinel.health("/metrics")[1]
        total = len(self.control_plane.asset.cipher)
        for name in ("hydrated_bytes", "hydrate_total_bytes"):
            self.assertIn(f"trustbridge_sentinel_{name} {total}", text)
        self.assertEqual(sentinel.status()["hydrate"]["bytes"], total)


if __name__ == "__main__":
    unittest.main(verbosity=2)
