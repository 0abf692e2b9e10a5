"""A runtime that loads a model as plainly as one can: reads every byte of it, keeps it in memory, and then says that it is
healthy and, as the model's id, the SHA-256 of what it read. Started by the sentinel: MODEL PORT.
"""
import hashlib
import http.server
import json
import os
import sys


def load(path):
    """A directory's files follow each other by their paths."""
    if not os.path.isdir(path):
        with open(path, "rb") as model:
            return model.read()
    files = [os.path.join(top, name) for top, _, names in os.walk(path) for name in names]
    return b"".join(load(file) for file in sorted(files))


class Answers(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = json.dumps({"object": "list", "data": [{"id": digest, "object": "model"}]}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


held = load(sys.argv[1])
digest = hashlib.sha256(held).hexdigest()
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[2])), Answers).serve_forever()
