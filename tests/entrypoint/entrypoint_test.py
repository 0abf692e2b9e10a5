"""runtime/entrypoint.sh: which server it becomes, with which arguments, on which delivery, and what it refuses. The servers are
stand-ins that write down what they were started with; the engine of runtime/engine is the real one. spec: wire 2.2, 2.3"""
import http.server
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import urllib.request

REPO = pathlib.Path(__file__).resolve().parent.parent.parent
SCRIPT = REPO / "runtime" / "entrypoint.sh"
ENGINE = REPO / "build" / "engine"
# Arguments and environment as JSON, by printf alone: sh, as the images have it.
STAND_IN = '#!/bin/sh\n{ for a in "$0" "$@"; do printf "%s\\0" "$a"; done; } >"$RECORD/argv"\nenv -0 >"$RECORD/env"\nprintf "%s" $$ >"$RECORD/pid"\n'


class Entrypoint(unittest.TestCase):
    def setUp(self):
        self.place = pathlib.Path(tempfile.mkdtemp(prefix="tb-entrypoint-"))
        self.addCleanup(shutil.rmtree, self.place)
        self.bin = self.place / "bin"
        self.bin.mkdir()
        self.signal = self.place / "ready.signal"
        self.model = self.place / "model"

    def stand_in(self, *names, then=""):
        for name in names:
            (self.bin / name).write_text(STAND_IN + then)
            (self.bin / name).chmod(0o755)

    def environment(self, **more):
        return {"PATH": f"{self.bin}:/usr/bin:/bin", "RECORD": str(self.place), "TB_READY_SIGNAL": str(self.signal), "TB_STARTUP_TIMEOUT": "2",
                "TB_STATUS_URL": "http://127.0.0.1:1", "TMPDIR": str(self.place)} | {name: str(value) for name, value in more.items()}

    def files(self, *names, content=b"x"):
        for name in names:
            path = self.model / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    def ready(self, path=None, delivery="tmpfs", generation="g1", mode=0o644, **more):
        facts = {"ready": True, "timestamp": "2026-01-01T00:00:00Z", "sentinel_version": "0.1.0", "delivery": delivery, "path": str(path or self.model),
                 "generation": generation, "plaintext_bytes": 1} | more
        aside = self.place / "aside"
        aside.write_text(json.dumps(facts) + "\n")
        aside.chmod(mode)
        os.rename(aside, self.signal)

    def run_script(self, *arguments, status=0, **environment):
        done = subprocess.run(["/bin/sh", SCRIPT, *map(str, arguments)], env=self.environment(**environment), capture_output=True, text=True, timeout=60,
                              check=False)
        self.assertEqual(done.returncode, status, done.stderr)
        # What the script became is what wrote the record: had it started another process, that would run beside it.
        return done.stderr

    def recorded(self):
        argv = (self.place / "argv").read_bytes().decode().split("\0")[:-1]
        environment = dict(line.split("=", 1) for line in (self.place / "env").read_bytes().decode().split("\0") if line)
        return [os.path.basename(argv[0]), *argv[1:]], environment

    def value(self, argv, flag):
        self.assertEqual(argv.count(flag), 1, f"{flag} in {argv}")
        return argv[argv.index(flag) + 1]

    # ---- which server ----
    def test_safetensors_go_to_vllm(self):
        self.stand_in("vllm", "llama-server")
        self.files("config.json", "model.safetensors")
        self.ready()
        self.run_script("--", "--max-model-len", "4096", TB_SERVED_MODEL_NAME="acme/llama", VLLM_SERVER_DEV_MODE="1",
                        VLLM_ALLOW_RUNTIME_LORA_UPDATING="True", TB_ACTIVATION_TOKEN_FILE="/x")
        argv, environment = self.recorded()
        self.assertEqual(argv[:3], ["vllm", "serve", str(self.model)])
        self.assertEqual(self.value(argv, "--served-model-name"), "acme/llama")
        self.assertEqual((self.value(argv, "--host"), self.value(argv, "--port")), ("127.0.0.1", "8081"))
        self.assertEqual(self.value(argv, "--shutdown-timeout"), "30")
        self.assertEqual(argv[-2:], ["--max-model-len", "4096"])
        self.assertNotIn("--enable-lora", argv)
        self.assertNotIn("--safetensors-load-strategy", argv)
        self.assertFalse([flag for flag in argv if "log-outputs" in flag or "log-requests" in flag])
        self.assertEqual((environment["HF_HUB_OFFLINE"], environment["VLLM_NO_USAGE_STATS"]), ("1", "1"))
        for name in ("VLLM_SERVER_DEV_MODE", "VLLM_ALLOW_RUNTIME_LORA_UPDATING", "TB_ACTIVATION_TOKEN_FILE", "VLLM_API_KEY"):
            self.assertNotIn(name, environment)

    def test_vllm_by_socket_on_a_mount_with_a_key_and_adapters(self):
        self.stand_in("vllm")
        self.files("config.json", "model-00001-of-00002.safetensors")
        self.ready(delivery="mount")
        key = self.place / "key"
        key.write_text("a-key-of-this-start\n")
        self.run_script("--socket", self.place / "vllm.sock", "--api-key-file", key, "--lora", "one=/adapters/1", TB_LORA_MODULES="two=/adapters/2",
                        TB_MAX_LORAS="2", TB_RUNTIME_SHUTDOWN_SECONDS="")
        argv, environment = self.recorded()
        self.assertEqual(self.value(argv, "--uds"), str(self.place / "vllm.sock"))
        self.assertNotIn("--port", argv)
        self.assertEqual(self.value(argv, "--safetensors-load-strategy"), "eager")
        at = argv.index("--lora-modules")
        self.assertEqual(sorted(argv[at + 1:at + 3]), ["one=/adapters/1", "two=/adapters/2"])
        self.assertEqual((self.value(argv, "--max-loras"), self.value(argv, "--max-lora-rank")), ("2", "64"))
        self.assertNotIn("--shutdown-timeout", argv)
        self.assertEqual(environment["VLLM_API_KEY"], "a-key-of-this-start")
        self.assertNotIn("a-key-of-this-start", " ".join(argv))

    def test_gguf_goes_to_llama_server(self):
        self.stand_in("vllm", "llama-server")
        self.model = self.place / "m.gguf"
        self.model.write_bytes(b"x")
        self.ready()
        self.run_script("--api-key-file", "/run/key", "--lora", "a=/l/a.gguf", "--lora", "b=/l/b.gguf", TB_RUNTIME_PORT="9000")
        argv, _ = self.recorded()
        self.assertEqual(argv[:3], ["llama-server", "-m", str(self.model)])
        self.assertEqual(self.value(argv, "--alias"), "model")
        self.assertEqual((self.value(argv, "--host"), self.value(argv, "--port")), ("127.0.0.1", "9000"))
        self.assertEqual(self.value(argv, "--api-key-file"), "/run/key")
        self.assertEqual(self.value(argv, "--lora"), "/l/a.gguf,/l/b.gguf")
        self.assertIn("--no-slots", argv)
        self.assertIn("--offline", argv)

    def test_a_directory_with_one_gguf_or_one_in_parts(self):
        self.stand_in("llama-server")
        self.files("m-00001-of-00002.gguf", "m-00002-of-00002.gguf", "README.md")
        self.ready()
        self.run_script("--socket", self.place / "l.sock")
        argv, _ = self.recorded()
        self.assertEqual(argv[2], str(self.model / "m-00001-of-00002.gguf"))
        self.assertEqual(self.value(argv, "--host"), str(self.place / "l.sock"))
        self.files("other.gguf")
        self.assertIn("2 GGUF models", self.run_script(status=4))
        self.assertIn(".sock", self.run_script("--socket", "/run/x", "--model", self.model / "other.gguf", "--kind", "llama", status=2))

    def test_a_repository_goes_to_triton(self):
        self.stand_in("tritonserver")
        self.files("net/config.pbtxt", "net/1/model.onnx")
        self.ready(delivery="mount")
        self.run_script()
        argv, _ = self.recorded()
        self.assertEqual(argv[0], "tritonserver")
        for flag in (f"--model-repository={self.model}", "--http-address=127.0.0.1", "--http-port=8081", "--allow-grpc=false", "--exit-timeout-secs=30"):
            self.assertIn(flag, argv)
        self.run_script("--socket", "/run/t.sock", status=2)
        self.run_script("--lora", "a=/b", status=2)

    def test_a_command_of_ones_own(self):
        self.stand_in("mine")
        self.files("anything")
        self.ready(delivery="fifo")
        self.run_script("--kind", "custom", "--", "mine", "{model_path}", "--at={port}", "{port}", "a b", "$(id)", "{host}")
        argv, _ = self.recorded()
        self.assertEqual(argv, ["mine", str(self.model), "--at={port}", "8081", "a b", "$(id)", "127.0.0.1"])
        self.run_script("--kind", "custom", status=2)
        self.assertIn("does not have", self.run_script("--kind", "custom", "--", "not-there", status=5))

    def test_what_no_server_here_can_read(self):
        self.stand_in("vllm")
        self.files("weights.bin")
        self.ready()
        self.assertIn("TB_RUNTIME_KIND", self.run_script(status=4))
        self.files("config.json", "m.safetensors")
        self.ready(delivery="fifo")
        self.assertIn("FIFO", self.run_script(status=3))
        self.ready(delivery="carrier-pigeon")
        self.run_script(status=4)
        self.ready()
        os.unlink(self.bin / "vllm")
        self.assertIn("vllm", self.run_script(status=5))
        self.assertFalse((self.place / "argv").exists())

    # ---- what is refused ----
    def test_hostile_values(self):
        self.stand_in("vllm")
        self.files("config.json", "m.safetensors")
        self.ready()
        mark = self.place / "mark"
        poison = f"$(touch {mark})"
        for name, values in {
                "TB_RUNTIME_KIND": [poison, "vllm;id", "VLLM"],
                "TB_RUNTIME_HOST": ["0.0.0.0", "10.0.0.1", "127.0.0.1;id", "::", "example.com", "127.0.0.1 --x", "127."],
                "TB_RUNTIME_PORT": ["0x1", "99999", "-1", "80 80", poison, "8081\n", "007"],
                "TB_SERVED_MODEL_NAME": ["a b", poison, "/model", "--flag", "a\nb", "a'b", "é"],
                "TB_RUNTIME_SOCKET": ["relative.sock", "/a b", poison, "/a/../b", "/a\nb", "/a;b"],
                "TB_RUNTIME_API_KEY_FILE": ["key", f"/{poison}"],
                "TB_LORA_MODULES": ["noequals", "a=relative", "a=/b c", "=/b", "a=", f"a=/{poison}", "a;b=/c", "a=/b=c", "a=/../b"],
                "TB_STARTUP_TIMEOUT": ["x", "1e3", "999999"],
                "TB_MAX_LORAS": ["x", "9999"],
                "TB_RUNTIME_SHUTDOWN_SECONDS": ["x"],
                "TB_STATUS_URL": ["http://10.0.0.1:1", "https://127.0.0.1:1", "file:///etc/passwd", "http://127.0.0.1@evil:1", "http://127.0.0.1:1/x"],
        }.items():
            for value in values:
                with self.subTest(name=name, value=value):
                    self.run_script(status=2, **{name: value})
        for arguments in (["--port"], ["--nonsense"], ["stray"], ["--", "--host", "0.0.0.0"], ["--", "--api-key=x"], ["--", "--uds", "/x"],
                          ["--model", "relative"], ["--model", "/a b"]):
            with self.subTest(arguments=arguments):
                self.run_script(*arguments, status=2)
        self.assertFalse(mark.exists())
        self.assertFalse((self.place / "argv").exists())

    def test_a_signal_that_is_not_the_sentinels(self):
        self.stand_in("vllm")
        self.files("config.json", "m.safetensors")
        self.ready(mode=0o666)
        self.assertIn("others may write", self.run_script(status=3))
        self.ready(path="/etc/$(id)")
        self.run_script(status=2)
        self.ready(path=str(self.model) + "/../../etc")
        self.run_script(status=2)
        if os.geteuid() == 0:
            self.ready()
            os.chown(self.signal, 4711, -1)
            self.assertIn("4711", self.run_script(status=3))
            self.run_script(TB_SENTINEL_UID=4711)
        os.unlink(self.signal)
        (self.place / "elsewhere").write_text("{}")
        os.symlink(self.place / "elsewhere", self.signal)
        self.run_script(status=6)
        os.unlink(self.signal)
        self.model = self.place / "m.gguf"
        self.model.write_bytes(b"xyz")
        self.ready(plaintext_bytes=4)
        self.assertIn("another size", self.run_script(status=4))

    # ---- waiting ----
    def test_it_waits_for_as_long_as_bytes_arrive(self):
        self.stand_in("vllm")
        self.files("config.json", "m.safetensors")
        asked = []

        class Status(http.server.BaseHTTPRequestHandler):
            def log_message(self, *arguments):
                pass

            def do_GET(self):
                asked.append(self.path)
                body = json.dumps({"state": "Hydrate", "hydrate": {"bytes": 1000 * len(asked), "total": 10**9}}, separators=(",", ":")).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Status)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        environment = self.environment(TB_STATUS_URL=f"http://127.0.0.1:{server.server_address[1]}")
        process = subprocess.Popen(["/bin/sh", SCRIPT], env=environment, stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + 60
        while len(asked) < 4 and time.monotonic() < deadline:  # twice its patience of 2 seconds
            self.assertIsNone(process.poll())
            time.sleep(0.05)
        self.assertGreaterEqual(len(asked), 4)
        self.ready()
        self.assertEqual(process.wait(timeout=60), 0, process.stderr.read())
        process.stderr.close()
        self.assertEqual(self.recorded()[0][0], "vllm")
        self.assertEqual(set(asked), {"/status"})

    def test_it_gives_up_when_nothing_moves(self):
        self.assertIn("nothing moved for 2 s", self.run_script(status=6))

    def test_the_server_is_the_process_and_ends_with_the_delivery(self):
        self.stand_in("vllm", then="trap 'exit 43' TERM\nwhile :; do sleep 0.1; done\n")
        self.files("config.json", "m.safetensors")
        self.ready()
        for withdraw in (lambda: os.unlink(self.signal), lambda: self.ready(generation="g2")):
            process = subprocess.Popen(["/bin/sh", SCRIPT], env=self.environment(), stderr=subprocess.DEVNULL)
            deadline = time.monotonic() + 60
            while not (self.place / "pid").exists() or not (self.place / "pid").read_text():
                self.assertLess(time.monotonic(), deadline)
                time.sleep(0.02)
            self.assertEqual(int((self.place / "pid").read_text()), process.pid)
            withdraw()
            self.assertEqual(process.wait(timeout=60), 43)
            os.unlink(self.place / "pid")
            self.ready()

    # ---- under the sentinel ----
    def test_supervised_it_waits_for_nothing(self):
        self.stand_in("llama-server")
        self.model = self.place / "m.gguf"
        self.model.write_bytes(b"x")
        self.run_script("--supervised", "--model", self.model, "--port", "4000", "--name", "n")
        argv, _ = self.recorded()
        self.assertEqual((self.value(argv, "--port"), self.value(argv, "--alias")), ("4000", "n"))
        self.run_script("--supervised", status=2)
        self.assertIn("not there", self.run_script("--supervised", "--model", "/nowhere", status=5))

    def test_it_becomes_the_sentinel_with_itself_as_the_runtime(self):
        place = self.place / "image"
        place.mkdir()
        shutil.copy(SCRIPT, place / "entrypoint.sh")
        (place / "trustbridge-sentinel").write_text(STAND_IN)
        (place / "trustbridge-sentinel").chmod(0o755)

        def become(*arguments, **environment):
            done = subprocess.run(["/bin/sh", place / "entrypoint.sh", "--sentinel", *arguments], env=self.environment(**environment), capture_output=True,
                                  text=True, check=False)
            self.assertEqual(done.returncode, 0, done.stderr)
            return self.recorded()[1]

        environment = become(TB_RUNTIME_KIND="vllm", TB_SERVED_MODEL_NAME="n", TB_LORA_MODULES="a=/b")
        command = json.loads(environment["TB_RUNTIME_COMMAND"])
        self.assertEqual(command[:3], ["/bin/sh", str(place / "entrypoint.sh"), "--supervised"])
        self.assertEqual(self.value(command, "--model"), "{model_path}")
        self.assertEqual(self.value(command, "--port"), "{runtime_port}")
        self.assertEqual(self.value(command, "--name"), "{served_model_name}")
        self.assertEqual(environment["TB_SERVED_MODEL_NAME"], "n")
        self.assertEqual(self.value(command, "--lora"), "a=/b")
        self.assertEqual(environment["TB_RUNTIME_READ_PATHS"], str(place))
        self.assertEqual(become("--name", "by/flag")["TB_SERVED_MODEL_NAME"], "by/flag")
        environment = become("--socket", "/run/gate/r.sock")
        self.assertNotIn("TB_SERVED_MODEL_NAME", environment)
        self.assertEqual(self.value(json.loads(environment["TB_RUNTIME_COMMAND"]), "--name"), "{served_model_name}")
        self.assertEqual(self.value(json.loads(environment["TB_RUNTIME_COMMAND"]), "--socket"), "{runtime_socket}")
        self.assertEqual(environment["TB_RUNTIME_URL"], "unix:/run/gate/r.sock")
        self.assertEqual(become(TB_RUNTIME_COMMAND='["mine"]')["TB_RUNTIME_COMMAND"], '["mine"]')

    def test_the_real_engine_answers(self):
        if not (ENGINE / "node").exists():
            self.skipTest("NOT PROVEN: build/engine is missing: scripts/engine.sh")
        self.model = self.place / "model.gguf"
        subprocess.run(["/usr/bin/python3", REPO / "runtime" / "make_tiny_gguf.py", self.model], check=True, capture_output=True)
        self.ready(plaintext_bytes=self.model.stat().st_size)
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        process = subprocess.Popen(
            ["/bin/sh", SCRIPT, "--kind", "custom", "--port", str(port), "--", str(ENGINE / "node"), str(ENGINE / "server.mjs"), "--model",
             "{model_path}", "--port", "{port}"], env=self.environment(), stderr=subprocess.PIPE, text=True)
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        for line in process.stderr:
            if "model loaded" in line:
                break
        body = json.dumps({"prompt": "tell me", "max_tokens": 8}).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/completions", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            self.assertEqual(len(json.load(answer)["choices"]), 1)
        os.unlink(self.signal)  # suspension
        self.assertEqual(process.wait(timeout=60), 0)


class Script(unittest.TestCase):
    def test_it_evaluates_nothing(self):
        code = [line.split("#")[0] for line in SCRIPT.read_text().splitlines()]
        self.assertFalse([line for line in code if re.search(r"\beval\b|`", line)])

    @unittest.skipUnless(shutil.which("shellcheck"), "NOT PROVEN: shellcheck is missing: scripts/deps.sh --what test")
    def test_shellcheck_finds_nothing(self):
        done = subprocess.run(["shellcheck", "-s", "sh", SCRIPT], capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stdout)


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    result = unittest.main(verbosity=1, exit=False).result
    for _, why in result.skipped:
        print(why, file=sys.stderr)
    sys.exit(1 if not result.wasSuccessful() or not result.testsRun else 77 if result.skipped else 0)
