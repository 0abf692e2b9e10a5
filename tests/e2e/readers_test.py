"""A model directory, sealed by the real command line, read by programs that know nothing of us: a reader of safetensors on
what each delivery shows, and tar on what comes out of the FIFO; and who may not read it.

spec: tbenc-v1 6 (a directory); wire 2.2 (TB_DELIVERY, TB_RUNTIME_UID), 2.3 (files, FIFO)
"""
import hashlib
import json
import os
import pathlib
import random
import signal
import struct
import subprocess
import tempfile

import chain

ROW, CHUNK_BYTES = 4096, 1 << 20
RUNTIME_UID, STRANGER_UID = 61181, 61182
READER = chain.HERE + "/safetensors_reader.py"


def shard(seed, names):
    """A safetensors file of random f16 matrices, and what a reader must find in it."""
    draw, header, body, expected = random.Random(seed), {"__metadata__": {"format": "pt"}}, b"", {}
    for rows, name in enumerate(names, 300):
        content = draw.randbytes(rows * ROW * 2)
        header[name] = {"dtype": "F16", "shape": [rows, ROW], "data_offsets": [len(body), len(body) + len(content)]}
        body += content
        expected[name] = {"dtype": "F16", "shape": [rows, ROW], "sha256": hashlib.sha256(content).hexdigest()}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + body, expected


def write_model(directory):
    """Gives what the reader must say of the shards, and {path: (mode, SHA-256)} of all files."""
    os.makedirs(directory + "/tokenizer")
    files = {"config.json": b'{"architectures": ["LlamaForCausalLM"]}', "empty": b"", "run.sh": b"#!/bin/sh\n",
             "tokenizer/tokenizer.json": json.dumps({str(n): n for n in range(5000)}).encode()}
    tensors = {}
    for number in (1, 2):
        name = f"model-{number:05}-of-00002.safetensors"
        files[name], tensors[name] = shard(number, [f"model.layers.{number}.{part}.weight" for part in ("q", "k", "v", "up")])
    for name, content in files.items():
        with open(f"{directory}/{name}", "wb") as file:
            file.write(content)
        os.chmod(f"{directory}/{name}", 0o755 if name == "run.sh" else 0o644)
    return tensors, tree(directory)


def tree(directory):
    """Whether executable, and the SHA-256, of every file."""
    out = {}
    for top, _, names in os.walk(directory):
        for name in names:
            path = os.path.join(top, name)
            out[os.path.relpath(path, directory)] = (bool(os.stat(path).st_mode & 0o100), chain.sha256_of_file(path))
    return out


def read_shards(directory, **as_whom):
    """What the reader, a program of its own, finds there; None and what it said if it fails."""
    shards = [f"{directory}/model-{number:05}-of-00002.safetensors" for number in (1, 2)]
    with open(READER, "rb") as program:  # the tree may be closed to other users
        done = subprocess.run([chain.PYTHON, "-", *shards], stdin=program, capture_output=True, text=True, check=False, cwd="/", **as_whom)
    return (json.loads(done.stdout), "") if done.returncode == 0 else (None, done.stderr)


class Case(chain.Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        plain = cls.plain = cls.chain.shm + "/plain"
        cls.tensors, cls.files = write_model(plain)
        cls.sealed = cls.chain.publish("directory", plain, "--chunk-bytes", CHUNK_BYTES)

    def reads_all(self, path):
        self.assertEqual(read_shards(path), (self.tensors, ""))
        self.assertEqual(tree(path), self.files)

    def by_sentinel(self, delivery, **settings):
        sentinel = self.start("directory", TB_DELIVERY=delivery, **settings)
        path = self.delivered(sentinel, delivery)
        self.reads_all(path)
        self.assertEqual(sentinel.stop(), 0)
        self.assertEqual(os.listdir(sentinel.shm + "/model"), [])


@chain.needs_mount
class Mount(Case):
    def test_by_the_sentinel(self):
        for hydrate in ("overlap", "lazy", "strict"):
            with self.subTest(hydrate):
                self.by_sentinel("mount", TB_HYDRATE=hydrate)

    def test_by_the_command_line(self):
        ciphertext, manifest, key = self.sealed
        path = self.chain.work + "/view"
        mount = subprocess.Popen([chain.CLI, "mount", "--in", ciphertext, "--manifest", manifest, "--key-file", key, path],
                                 stdout=subprocess.PIPE, env=chain.bare())
        try:
            self.assertEqual(mount.stdout.readline().decode().strip(), path)
            self.reads_all(path)
        finally:
            mount.send_signal(signal.SIGTERM)
            mount.communicate(timeout=30)
        self.assertEqual(mount.returncode, 0)
        self.assertFalse(chain.is_mounted(path))


class Tmpfs(Case):
    def test_by_the_sentinel(self):
        for hydrate in ("overlap", "strict"):
            with self.subTest(hydrate):
                self.by_sentinel("tmpfs", TB_HYDRATE=hydrate)


class Fifo(Case):
    def untar(self, pipe):
        with tempfile.TemporaryDirectory(dir="/dev/shm") as into:
            subprocess.run(["tar", "-x", "--no-same-owner", "-C", into, "-f", pipe], check=True, timeout=60)
            return tree(into)

    def test_tar_unpacks_it_again_and_again(self):
        sentinel = self.start("directory", TB_DELIVERY="fifo")
        pipe = self.delivered(sentinel, "fifo")
        self.assertEqual(self.untar(pipe), self.files)
        with open(pipe, "rb") as early:
            self.assertEqual(len(early.read(3 << 20)), 3 << 20)
        self.assertEqual(self.untar(pipe), self.files)
        self.assertEqual(sentinel.status()["state"], "Ready")
        self.assertEqual(sentinel.stop(), 0)
        self.assertFalse(os.path.exists(pipe))


class OtherUser(Case):
    """TB_RUNTIME_UID is another than the sentinel's."""

    def as_user(self, uid):
        return {"user": uid, "group": uid, "extra_groups": []}

    def deliver_to(self, delivery):
        """To a runtime that the sentinel starts as that user, and to readers beside it."""
        sentinel = self.start("directory", TB_DELIVERY=delivery, TB_RUNTIME_UID=RUNTIME_UID, **chain.reading_runtime())
        os.chmod(sentinel.shm, 0o711)
        path = self.delivered(sentinel, delivery)
        with open(f"/proc/{chain.runtime_pid(sentinel)}/status", encoding="ascii") as file:
            self.assertIn("Uid:" + f"\t{RUNTIME_UID}" * 4, file.read())
        everything = b"".join(pathlib.Path(self.plain, name).read_bytes() for name in sorted(self.files))
        self.assertEqual(chain.what_it_read(sentinel), hashlib.sha256(everything).hexdigest())
        self.assertEqual(read_shards(path, **self.as_user(RUNTIME_UID)), (self.tensors, ""))
        found, why = read_shards(path, **self.as_user(STRANGER_UID))
        self.assertIsNone(found)
        self.assertIn("PermissionError", why)
        return sentinel, path

    @chain.needs_root
    @chain.needs_mount
    def test_a_mount_is_read_by_the_runtimes_user_alone(self):
        sentinel, path = self.deliver_to("mount")
        found, why = read_shards(path)
        self.assertIsNone(found, "root reads the mount")
        self.assertIn("PermissionError", why)
        self.assertEqual(sentinel.stop(), 0)

    @chain.needs_root
    def test_files_in_memory_are_read_by_the_runtimes_user_alone(self):
        """Root passes every mode of a file in memory: nothing is asked of it here."""
        sentinel, _ = self.deliver_to("tmpfs")
        self.assertEqual(sentinel.stop(), 0)


if __name__ == "__main__":
    chain.main()
