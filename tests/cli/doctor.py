"""doctor tells what this machine can do; an endpoint that does not answer is a fault and exit 6."""
import http.server
import socket
import threading

from scenario import check, equal, play


class Healthy(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/healthz" else 404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def story(s):
    findings = {f["name"]: f for f in s.tb("doctor", "--json").json()["findings"]}
    for name in ("kernel", "cores", "aes", "aes_gcm", "sha256", "memory", "tmpfs", "swap", "fuse", "core_dumps", "ptrace",
                 "landlock", "seccomp", "network_namespace", "own_tmpfs", "huge_pages", "pipe", "locked_memory"):
        check(findings[name]["value"], f"nothing about {name}")
        check(findings[name]["health"] in ("ok", "warning", "fault"), findings[name])
        check((findings[name]["health"] == "ok") == (findings[name]["advice"] == ""), f"advice: {findings[name]}")
    check("endpoint" not in findings, "an endpoint that nobody named")
    server = http.server.HTTPServer(("127.0.0.1", 0), Healthy)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    done = s.tb("doctor", "--json", "--edc-endpoint", f"http://127.0.0.1:{server.server_port}/")
    equal(done.json()["findings"][-1]["health"], "ok", "endpoint")
    server.shutdown()
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        # rc 6 with a result on stdout: the one command that gives both.
        process = s.start("doctor", "--json", "--edc-endpoint", url, stdout=-1, stderr=-1)
        out, _ = process.communicate(timeout=60)
    equal(process.returncode, 6, "exit status")
    check(b'"healthy": false' in out, out)


play(story)
