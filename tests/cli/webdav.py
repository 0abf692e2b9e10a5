"""A real nginx that takes PUT (its dav module), unprivileged, on a free port, over a directory of the scenario; with
`authorization` it answers only requests that carry that value."""
import os
import socket
import subprocess
import time

from scenario import Failed

PROGRAM = "/usr/sbin/nginx"


class Nginx:
    def __init__(self, folder, authorization="", more=""):
        if not os.access(PROGRAM, os.X_OK):
            raise Failed("nginx is missing: run scripts/deps.sh")
        self.root = folder / "www"
        self.root.mkdir(parents=True)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        user = "user root;" if os.geteuid() == 0 else ""
        gate = f'if ($http_authorization != "{authorization}") {{ return 401; }}' if authorization else ""
        (folder / "nginx.conf").write_text(f"""{user}
daemon off; pid {folder}/pid; error_log {folder}/error.log;
events {{}}
http {{
  access_log off; client_max_body_size 0;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
  uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
  server {{ listen 127.0.0.1:{self.port}; root {self.root}; dav_methods PUT; create_full_put_path on; {gate} {more} }}
}}
""")
        self.process = subprocess.Popen([PROGRAM, "-p", folder, "-c", folder / "nginx.conf", "-e", folder / "error.log"],
                                        stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    self.close()
                    raise
                time.sleep(0.02)

    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def get(self, name):
        path = self.root / "models" / name
        return path.read_bytes() if path.exists() else None

    def close(self):
        self.process.terminate()
        self.process.wait(timeout=30)
