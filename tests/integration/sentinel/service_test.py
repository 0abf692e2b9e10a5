"""The sentinel as a service manager sees it, by sd_notify(3): the real binary and a real datagram socket."""
import os
import socket
import sys
import time
import unittest

import peers

PLAIN = b"".join(number.to_bytes(4, "big") for number in range(100_000))


class ServiceTest(unittest.TestCase):
    def begin(self, mode="ok", piece_pause_s=0, runs=True, **settings):
        self.manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(self.manager.close)
        name = "tb-service-" + os.urandom(8).hex()
        self.manager.bind("\0" + name)
        self.manager.settimeout(60)
        control_plane = peers.ControlPlane(peers.Asset(PLAIN))
        control_plane.mode, control_plane.piece_pause_s = mode, piece_pause_s
        self.addCleanup(control_plane.close)
        runtime = peers.Runtime()
        self.addCleanup(runtime.close)
        sentinel = peers.Sentinel(control_plane, f"http://127.0.0.1:{runtime.port if runs else 9}", NOTIFY_SOCKET="@" + name, **settings)
        self.addCleanup(sentinel.close)
        return sentinel

    def hear_until(self, line):
        """All lines up to a message that holds `line`."""
        heard, end = [], time.monotonic() + 60
        while line not in heard:
            self.assertLess(time.monotonic(), end, f"waited in vain for {line}: {heard}")
            heard += self.manager.recv(500).decode().split("\n")
        return heard

    def test_life(self):
        sentinel = self.begin(piece_pause_s=0.25, WATCHDOG_USEC=2_000_000)
        heard = self.hear_until("STATUS=serving asset-1")
        self.assertTrue([line for line in heard if line.startswith("STATUS=hydrating: ")], heard)
        self.assertIn("EXTEND_TIMEOUT_USEC=180000000", heard[:heard.index("READY=1")])
        self.assertIn("WATCHDOG=1", heard)
        sentinel.process.terminate()
        heard = self.hear_until("STOPPING=1")
        self.assertNotIn("READY=1", heard)
        self.assertEqual(sentinel.process.wait(timeout=60), 0)

    def test_somebody_else_starts_the_runtime_and_may_wait_for_the_model(self):
        sentinel = self.begin(runs=False)
        heard = self.hear_until("READY=1")
        self.assertEqual(heard[-1], "STATUS=the model can be read, the runtime is awaited")
        self.assertTrue(os.path.exists(sentinel.signal_file))

    def test_denied(self):
        self.begin(mode="denied")
        heard = self.hear_until("READY=1")
        self.assertTrue(heard[-1].startswith("STATUS=suspended ("), heard)
        self.assertNotIn("WATCHDOG=1", heard)

    def test_denied_and_told_to_exit(self):
        sentinel = self.begin(mode="denied", TB_EXIT_ON_DENIAL="true")
        self.assertEqual(sentinel.process.wait(timeout=60), 3)

    def test_a_faulty_configuration_is_not_worth_another_start(self):
        sentinel = self.begin(TB_HYDRATE="sometimes")
        self.assertEqual(sentinel.process.wait(timeout=60), 2)


if __name__ == "__main__":
    sys.exit(unittest.main())
