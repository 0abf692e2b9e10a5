"""Plaintext never reaches a disk: a pattern stands in every page of a model, and after every way of delivering it, and after
ends in the middle, is looked for in every file that was written since, wherever it lies on the machine.

As root the disk of the whole chain is a file system of its own in an image, so that its blocks can be searched one by one,
those of deleted files and of the file system's journal among them. spec: wire 2.2, 2.3
"""
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
import unittest

import chain
import find_plaintext

PAGE, MODEL_BYTES, CHUNK_BYTES = 4096, 32 << 20, 1 << 20
IMAGE_BYTES = 1 << 30
FIND = chain.HERE + "/find_plaintext.py"
# As if weights leaked: an own program that ends by a fault while it holds the pattern.
CRASHER = "import os, sys\nheld = open(sys.argv[1], 'rb').read() * 100\nos.abort()"


def a_disk():
    """A directory for temporary files that is not itself in memory."""
    for place in (tempfile.gettempdir(), "/var/tmp", os.getcwd()):
        kind = subprocess.run(["findmnt", "-no", "FSTYPE", "-T", place], capture_output=True, text=True, check=False).stdout.strip()
        if kind not in find_plaintext.SKIPPED and os.access(place, os.W_OK):
            return place
    raise unittest.SkipTest("NOT PROVEN: there is no disk here that could be written to")


class Disk:
    """An ext4 in a file in memory, if this machine lets us mount one; else whatever holds temporary files."""

    def __init__(self):
        self.image, self.why = "", "only root can mount a file system"
        if os.geteuid() != 0:
            self.place = tempfile.mkdtemp(prefix="tb-canary-", dir=a_disk())
            return
        self.place = tempfile.mkdtemp(prefix="tb-canary-", dir="/dev/shm")
        image = self.place + ".image"
        with open(image, "wb") as file:
            file.truncate(IMAGE_BYTES)
        for command in (["/usr/sbin/mkfs.ext4", "-q", image], ["mount", "-o", "loop", image, self.place]):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                os.unlink(image)
                os.rmdir(self.place)
                self.place = tempfile.mkdtemp(prefix="tb-canary-", dir=a_disk())
                self.why = f"{command[0]}: {done.stderr.strip()}"
                return
        self.image = image

    def flush(self):
        """What was written to the file system is then in the image."""
        subprocess.run(["sync", "-f", self.place], check=True)

    def close(self):
        if self.image:
            subprocess.run(["umount", "-l", self.place], check=True)
            os.unlink(self.image)
        subprocess.run(["rm", "-rf", self.place], check=True)


def found_in(said):
    return {line.removeprefix("found in ") for line in said.splitlines() if line.startswith("found in ")}


@chain.needs_memory(1 << 30)
class Canary(chain.Case):
    @classmethod
    def setUpClass(cls):
        cls.disk, cls.ended = Disk(), []
        cls.addClassCleanup(cls.disk.close)
        cls.addClassCleanup(setattr, tempfile, "tempdir", tempfile.tempdir)
        tempfile.tempdir = cls.disk.place
        # Where a core dump of ours would lie, if there were one.
        cls.addClassCleanup(os.chdir, os.getcwd())
        os.chdir(cls.disk.place)
        resource.setrlimit(resource.RLIMIT_CORE, (resource.getrlimit(resource.RLIMIT_CORE)[1],) * 2)
        super().setUpClass()
        cls.stamp = cls.chain.shm + "/stamp"
        with open(cls.stamp, "wb"):
            pass
        time.sleep(0.02)  # a tick of the file system's clock
        cls.held = os.urandom(64)
        cls.pattern = cls.chain.own_file("pattern", cls.held)
        plain = cls.chain.shm + "/canary.weights"
        with open(plain, "wb") as out:
            for _ in range(MODEL_BYTES // PAGE):
                out.write(cls.held + os.urandom(PAGE - len(cls.held)))
        cls.digest = chain.sha256_of_file(plain)
        cls.ciphertext, _, cls.key = cls.chain.publish("canary", plain, "--chunk-bytes", CHUNK_BYTES)

    def search(self, *where, expected):
        command = [sys.executable, FIND, self.pattern, "--pattern", "--key", self.key, *where]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, expected, done.stdout + done.stderr)
        return done.stdout

    def licensed(self, name, **settings):
        self.chain.contract(name, "canary")
        return self.start(name, "canary", **settings)

    def whole(self, delivery, hydrate):
        """From start to end, all of it read by a runtime of the sentinel's, which holds it in its own memory then."""
        sentinel = self.licensed(f"{delivery}-{hydrate}", TB_DELIVERY=delivery, TB_HYDRATE=hydrate, **chain.reading_runtime())
        self.delivered(sentinel, delivery)
        self.assertEqual(chain.what_it_read(sentinel), self.digest)
        self.search("--in", sentinel.work, expected=0)
        self.assertEqual(sentinel.stop(), 0)
        self.ended.append((delivery, hydrate))

    def killed(self, name, number, when, **settings):
        """Ended by a signal in the middle, with plaintext in its hands."""
        sentinel = self.licensed(name, TB_MAX_DOWNLOAD_BYTES_PER_SECOND=MODEL_BYTES // 16, TB_DOWNLOAD_CHUNK_BYTES=CHUNK_BYTES, **settings)
        sentinel.wait_for("the middle", lambda: when(sentinel))
        at = sentinel.status()["hydrate"]
        self.assertLess(at["bytes"], at["total"])
        sentinel.process.send_signal(number)
        self.assertEqual(sentinel.process.wait(timeout=30), -number)
        self.search("--in", sentinel.work, expected=0)
        self.ended.append((name, number))
        return sentinel

    def test_1_every_delivery(self):
        for delivery, hydrate in (("tmpfs", "overlap"), ("tmpfs", "strict"), ("fifo", "overlap"), ("fifo", "strict")):
            with self.subTest(f"{delivery} {hydrate}"):
                self.whole(delivery, hydrate)

    @chain.needs_mount
    def test_1_every_mount(self):
        for hydrate in ("overlap", "lazy", "strict"):
            with self.subTest(hydrate):
                self.whole("mount", hydrate)

    def test_2_killed_while_it_writes_into_memory(self):
        def partly_come(sentinel):
            return sentinel.status()["hydrate"]["bytes"] > MODEL_BYTES // 16

        for name, number, runtime in (("killed", signal.SIGKILL, {}), ("aborted", signal.SIGABRT, chain.reading_runtime())):
            with self.subTest(name):
                sentinel = self.killed(name, number, partly_come, TB_DELIVERY="tmpfs", **runtime)
                # Memory is where it is, until the next start: so there was something to be found.
                self.search("--in", sentinel.shm, expected=1)

    @chain.needs_mount
    def test_2_killed_while_it_is_read(self):
        def being_read(sentinel):
            if sentinel.status()["state"] != "Ready":
                return False
            with open(os.path.dirname(sentinel.model) + "/canary.weights", "rb") as file:
                return self.held in file.read(MODEL_BYTES // 16)

        self.killed("killed-mount", signal.SIGKILL, being_read, TB_DELIVERY="mount", TB_HYDRATE="lazy")

    def test_3_nowhere_on_this_machine(self):
        self.assertGreaterEqual(len(self.ended), 6, "too little was done for this to show anything")
        print(self.search("--since", self.stamp, "--machine", expected=0), file=sys.stderr)

    def test_4_in_no_block_of_the_disk(self):
        if not self.disk.image:
            self.skipTest(f"NOT PROVEN for deleted files: {self.disk.why}")
        self.assertGreaterEqual(len(self.ended), 6, "too little was done for this to show anything")
        self.disk.flush()
        self.search("--in", self.disk.image, expected=0)
        # The ciphertext is there: the search does see what the disk holds.
        with open(self.ciphertext, "rb") as file:
            file.seek(CHUNK_BYTES)
            sealed = self.chain.own_file("sealed", file.read(64))
        done = subprocess.run([sys.executable, FIND, sealed, "--pattern", "--in", self.disk.image], capture_output=True, check=False)
        self.assertEqual(done.returncode, 1, done.stderr)

    def test_5_the_search_finds_what_is_there(self):
        """A file, and one without a name; in the blocks of the disk also one that is gone."""
        named = self.disk.place + "/named"
        with open(named, "wb") as file:
            file.write(self.held)
        with open(self.disk.place + "/unnamed", "wb") as unnamed:
            unnamed.write(self.held)
            unnamed.flush()
            os.unlink(unnamed.name)
            found = found_in(self.search("--since", self.stamp, "--machine", expected=1))
        self.assertEqual({path for path in found if not path.startswith("/proc/")}, {named})
        self.assertTrue([path for path in found if path.startswith(f"/proc/{os.getpid()}/fd/")], "a file held open is not seen")
        self.disk.flush()
        os.unlink(named)
        self.search("--since", self.stamp, "--machine", expected=0)
        if self.disk.image:
            self.disk.flush()
            self.search("--in", self.disk.image, expected=1)

    def test_6_the_search_finds_a_core_dump(self):
        """Of a program that may write one, as the sentinel that was aborted above may not."""
        done = subprocess.run([sys.executable, "-c", CRASHER, self.pattern], check=False, cwd=self.disk.place)
        self.assertEqual(done.returncode, -signal.SIGABRT)
        cores = {entry.path for entry in os.scandir(self.disk.place) if entry.name.startswith("core")}
        if not cores:
            self.skipTest("NOT PROVEN: no program leaves a core dump beside itself here")
        self.assertEqual(found_in(self.search("--since", self.stamp, "--machine", expected=1)), cores)


if __name__ == "__main__":
    chain.main()
