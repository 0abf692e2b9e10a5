"""A real engine maps a model of more than 1 GiB that is still being downloaded, and says what it says on the plaintext.

spec: wire 2.2 (TB_DELIVERY=mount, TB_HYDRATE=lazy), 2.3
"""
import json
import os
import re
import subprocess
import sys
import unittest

import chain

# Six layers of this width are 1.2 GB of f32. Its download takes twenty seconds however fast the machine is: a busy one
# needs some of them to start the engine.
SHAPE = ["--layers", "6", "--width", "2048", "--feed", "5504", "--heads", "16"]
BYTES_PER_SECOND = 60_000_000


def mapped_bytes(pid, path):
    """How much of this file is in the process's memory by a mapping."""
    mapped, here = 0, False
    try:
        with open(f"/proc/{pid}/smaps", encoding="utf-8") as file:
            for line in file:
                if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
                    here = line.rstrip().endswith(" " + path)
                elif here and line.startswith("Rss:"):
                    mapped += int(line.split()[1]) * 1024
    except FileNotFoundError:
        return 0
    return mapped


@chain.needs_mount
@chain.needs_memory(4 << 30)
class LazyEngine(chain.Case):
    def test_the_engine_reads_while_the_model_comes(self):
        settings = chain.engine_settings()
        plain = self.chain.shm + "/model.gguf"
        subprocess.run([sys.executable, chain.REPO + "/runtime/make_tiny_gguf.py", plain, *SHAPE], check=True)
        self.assertGreaterEqual(os.path.getsize(plain), 1 << 30)
        ciphertext, _, _ = self.chain.publish("large", plain)
        os.unlink(ciphertext)  # the store has it
        engine = chain.Engine(plain)
        try:
            reference = chain.ask(engine.url)
        finally:
            engine.close()
        self.assertGreater(len(reference), 8)
        os.unlink(plain)

        sentinel = self.start("large", TB_DELIVERY="mount", TB_HYDRATE="lazy", **settings,
                              TB_MAX_DOWNLOAD_BYTES_PER_SECOND=BYTES_PER_SECOND)
        sentinel.wait_for("the runtime", lambda: "runtime started" in sentinel.log(), seconds=60)
        pid = chain.runtime_pid(sentinel)
        sentinel.wait_for("pages of the model in the engine", lambda: mapped_bytes(pid, sentinel.model) > 0, seconds=60)
        # Asked for after the pages were seen: so they were read before everything had come.
        at = sentinel.status()["hydrate"]
        self.assertLess(at["bytes"], at["total"])
        print(f"the engine had mapped pages when {at['bytes']} of {at['total']} bytes had come", file=sys.stderr)

        sentinel.wait_state("Ready", seconds=120)
        self.assertEqual(sentinel.status()["delivery"]["kind"], "mount")
        at = sentinel.status()["hydrate"]
        print(f"it had loaded the model when {at['bytes']} of {at['total']} bytes had come", file=sys.stderr)
        self.assertEqual(chain.ask("http://" + sentinel.addresses()["public"], sentinel.api_key()), reference)
        sentinel.wait_for("all of it", lambda: "everything has come and is verified" in sentinel.log(), seconds=60)
        self.assertEqual(sentinel.status()["state"], "Ready")

        self.assertTrue(chain.is_mounted(os.path.dirname(sentinel.model)))
        self.chain.tb("contract", "suspend", "large", *self.chain.at)
        sentinel.wait_state("Suspended", seconds=2 * chain.LEASE_S)
        sentinel.wait_for("the end of the engine", lambda: not os.path.exists(f"/proc/{pid}"))
        sentinel.wait_for("the end of the mount", lambda: not chain.is_mounted(os.path.dirname(sentinel.model)))
        self.assertEqual(os.listdir(os.path.dirname(sentinel.model)), [])


if __name__ == "__main__":
    chain.main()
