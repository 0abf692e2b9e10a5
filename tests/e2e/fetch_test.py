"""`trustbridge-sentinel fetch`: what KServe's storage initializer and a machine without a net to the store are given. The real
control plane, its embedded store, and the real sentinel on what was fetched.
"""
import json
import os
import signal
import subprocess
import sys
import time
import unittest

import chain
import peers

PLAIN_BYTES = 6 << 20


class Fetch(chain.Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.plain = cls.chain.shm + "/model.gguf"
        with open(cls.plain, "wb") as file:
            file.write(os.urandom(PLAIN_BYTES))
        cls.out, cls.manifest, _ = cls.chain.publish("asset", cls.plain, "--chunk-bytes", "65536")
        cls.hw_id = cls.chain.own_file("hw-id", b"a machine of the tests\n")

    def begin(self, directory, uri="trustbridge://asset/asset", contract="asset", **settings):
        environment = chain.bare(TB_EDC_ENDPOINT=self.chain.url, TB_HW_ID_FILE=self.hw_id,
                                 TB_ACTIVATION_TOKEN_FILE=f"{self.chain.shm}/{contract}.activation") | settings
        return subprocess.Popen([peers.BINARY, "fetch", uri, directory], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def fetch(self, *arguments, **settings):
        process = self.begin(*arguments, **settings)
        out, err = process.communicate(timeout=120)
        self.assertEqual(out, "")
        return process.returncode, err

    def folder(self, name):
        return f"{self.chain.work}/{name}"

    def same(self, directory):
        self.assertEqual(sorted(os.listdir(directory)), ["model.manifest.json", "model.tbenc"])
        self.assertEqual(chain.sha256_of_file(directory + "/model.tbenc"), chain.sha256_of_file(self.out))
        with open(directory + "/model.manifest.json", encoding="utf-8") as file, open(self.manifest, encoding="utf-8") as wanted:
            self.assertEqual(json.load(file), json.load(wanted))

    def test_ciphertext_and_manifest_come_whole_and_the_seat_is_given_back(self):
        directory = self.folder("fetched")
        code, err = self.fetch(directory)
        self.assertEqual(code, 0, err)
        self.same(directory)
        self.assertIn("fetched and verified", err)
        searched = subprocess.run([sys.executable, chain.HERE + "/find_plaintext.py", self.plain, "--in", directory], check=False)
        self.assertEqual(searched.returncode, 0, "plaintext was found")
        types = [event["type"] for event in self.chain.events()]
        self.assertIn("license_released", types)
        with self.subTest("once more: nothing is asked for, not even the licence"):
            code, err = self.fetch(directory, TB_EDC_ENDPOINT="https://127.0.0.1:1")
            self.assertEqual(code, 0, err)
            self.assertIn("there already", err)
        with self.subTest("a sentinel serves from it"):
            sentinel = self.start("asset", TB_SOURCE="file:" + directory, TB_DELIVERY="tmpfs")
            self.assertEqual(chain.sha256_of_file(self.delivered(sentinel, "tmpfs")), chain.sha256_of_file(self.plain))

    def test_one_that_was_killed_goes_on_where_it_was(self):
        # Two seats: that of the killed one is its lease's until it ends.
        self.chain.tb("contract", "create", "--contract-id", "killed", "--asset-id", "asset", "--consumer", "consumer", "--not-after", "1h",
                      "--max-seats", 2, "--activation-token-file", f"{self.chain.shm}/killed.activation", *self.chain.at)
        directory, uri = self.folder("killed"), "trustbridge://killed/asset"
        slow = self.begin(directory, uri, "killed", TB_MAX_DOWNLOAD_BYTES_PER_SECOND="2097152", TB_DOWNLOAD_CHUNK_BYTES="65536", TB_DOWNLOAD_CONCURRENCY="1")
        deadline = time.monotonic() + 60
        while self.held(directory) < 1 << 20:
            self.assertIsNone(slow.poll(), "it did not wait to be killed")
            self.assertLess(time.monotonic(), deadline, "nothing comes")
            time.sleep(0.02)
        slow.send_signal(signal.SIGKILL)
        slow.communicate(timeout=60)
        self.assertFalse(os.path.exists(directory + "/model.tbenc"))
        code, err = self.fetch(directory, uri, "killed")
        self.assertEqual(code, 0, err)
        self.same(directory)
        done = next(json.loads(line) for line in err.splitlines() if "fetched and verified" in line)
        self.assertGreater(done["from_cache_bytes"], 0)

    @staticmethod
    def held(directory):
        """Bytes that have come: the file's space is reserved from the start, and reads as zeros until then."""
        inner = directory + "/.trustbridge-fetch"
        for name in os.listdir(inner) if os.path.isdir(inner) else []:
            if name.endswith(".ciphertext"):
                with open(f"{inner}/{name}", "rb") as file:
                    return len(file.read().rstrip(b"\0"))
        return 0

    def test_one_that_is_stopped_gives_its_seat_back(self):
        self.chain.contract("stopped", "asset")
        directory, uri = self.folder("stopped"), "trustbridge://stopped/asset"
        slow = self.begin(directory, uri, "stopped", TB_MAX_DOWNLOAD_BYTES_PER_SECOND="1048576", TB_DOWNLOAD_CHUNK_BYTES="65536")
        deadline = time.monotonic() + 60
        while not self.held(directory):
            self.assertIsNone(slow.poll(), "it did not wait to be stopped")
            self.assertLess(time.monotonic(), deadline, "nothing comes")
            time.sleep(0.02)
        slow.terminate()
        slow.communicate(timeout=60)
        self.assertEqual(slow.returncode, 130)
        code, err = self.fetch(directory, uri, "stopped")  # the contract has one seat
        self.assertEqual(code, 0, err)
        self.same(directory)

    def test_a_contract_that_is_not_in_force_brings_nothing(self):
        self.chain.contract("suspended", "asset")
        self.chain.tb("contract", "suspend", "suspended", *self.chain.at)
        directory = self.folder("denied")
        code, err = self.fetch(directory, "trustbridge://suspended/asset", "suspended")
        self.assertEqual(code, 3, err)
        self.assertIn("suspended", err)
        self.assertEqual(os.listdir(directory), [])

    def test_a_blob_that_was_changed_gets_no_name(self):
        self.chain.publish("flipped", self.plain, "--chunk-bytes", "65536")
        [blob] = [os.path.join(at, name) for at, _, names in os.walk(self.chain.work + "/blobs") for name in names
                  if os.path.getsize(os.path.join(at, name)) > PLAIN_BYTES and "flipped" in os.path.join(at, name)]
        with open(blob, "r+b") as file:
            file.seek(PLAIN_BYTES // 2)
            byte = file.read(1)
            file.seek(PLAIN_BYTES // 2)
            file.write(bytes([byte[0] ^ 1]))
        directory = self.folder("flipped-fetched")
        code, err = self.fetch(directory, "trustbridge://flipped/flipped", "flipped")
        self.assertEqual(code, 4, err)
        self.assertEqual([name for name in os.listdir(directory) if not name.startswith(".")], [])

    def test_what_cannot_be_meant(self):
        other = self.folder("other")
        os.mkdir(other)
        with open(self.manifest, encoding="utf-8") as file, open(other + "/model.manifest.json", "w", encoding="utf-8") as out:
            out.write(file.read().replace('"asset"', '"another"'))
        for directory, uri, about in ((other, "trustbridge://asset/asset", "something else"), ("relative", "trustbridge://asset/asset", "absolute"),
                                      (self.folder("x"), "https://asset/asset", "trustbridge://CONTRACT/ASSET"),
                                      (self.folder("x"), "trustbridge://cp.example:8443/asset/asset", "trustbridge://CONTRACT/ASSET")):
            code, err = self.fetch(directory, uri)
            self.assertIn(code, (2, 7), err)
            self.assertIn(about, err)
        code, err = self.fetch(self.folder("x"), TB_SOURCE="file:/tmp")
        self.assertEqual(code, 2, err)


if __name__ == "__main__":
    chain.main()
