"""Images for the tests here, where no registry is reached: ours by `trustbridge build`, those of others (PostgreSQL, the emulator,
the engine's base) from this machine's own files, put together by buildah. All in a storage of this run's own."""
import json
import os
import pathlib
import re
import shutil
import subprocess

REPO = pathlib.Path(__file__).resolve().parent.parent.parent
BIN = pathlib.Path(os.environ.get("TB_BIN", REPO / "build" / "release" / "bin"))
APPLETS = ("sh", "cat", "cp", "chmod", "chown", "dirname", "env", "grep", "head", "id", "kill", "ls", "mkdir", "sed", "sleep", "stat", "touch", "su", "mv")


class Storage:
    """podman and buildah with a storage in `place`."""

    def __init__(self, place):
        self.place = pathlib.Path(place)
        conf = self.place / "storage.conf"
        conf.write_text(f'[storage]\ndriver = "overlay"\ngraphroot = "{self.place}/graph"\nrunroot = "{self.place}/run"\n')
        containers = self.place / "containers.conf"
        base = (pathlib.Path(__file__).parent / "containers.conf").read_text()
        # Nothing shared with another podman of this machine: a reset of one would take the other's locks and state away.
        containers.write_text(base + f'volume_path = "{self.place}/volumes"\ntmp_dir = "{self.place}/libpod"\n\n[network]\nnetwork_config_dir = "{self.place}/networks"\n')
        self.environment = {**os.environ, "CONTAINERS_STORAGE_CONF": str(conf), "CONTAINERS_CONF": str(containers)}

    def run(self, *command, check=True, **rest):
        done = subprocess.run([str(word) for word in command], env=self.environment, capture_output=True, text=True, check=False, timeout=300, **rest)
        if check and done.returncode:
            raise AssertionError(f"{' '.join(map(str, command[:4]))} ended with {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout if check else done

    def podman(self, *arguments, **rest):
        return self.run("podman", *arguments, **rest)

    def built(self, *flags):
        """An image of ours, by the command that a release engineer would give; its name here."""
        archive = self.place / "image.tar"
        told = json.loads(self.run(BIN / "trustbridge", "build", "--archive", archive, "--force", "--json", "--no-push", *flags))
        loaded = self.podman("load", "-q", "-i", archive)
        archive.unlink()
        return re.search(r"Loaded image: (\S+)", loaded)[1], told

    def close(self):
        self.podman("rm", "--all", "--force", "--time", "2", check=False)
        self.podman("volume", "rm", "--all", "--force", check=False)
        self.run("umount", "-R", "-q", self.place / "graph/overlay", check=False)


def needed_files(paths):
    """The files of `paths` and the libraries that they are loaded with, links and what they lead to."""
    found = set()
    for path in paths:
        found.add(str(path))
        said = subprocess.run(["ldd", str(path)], capture_output=True, text=True, check=False).stdout
        found |= set(re.findall(r"(/\S+)(?= \()", said))
    return found


def linked(source, target, **_):
    """A hard link where that can be: hundreds of megabytes need not be copied to be put into an image."""
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copy2(source, target)


def root_of(place, files=(), trees=(), texts=None):
    """A root directory with busybox, `files` with their libraries, whole `trees` {from: to}, and `texts` {path: content}."""
    root = pathlib.Path(place)
    for name in ("bin", "usr/bin", "usr/local/bin", "etc", "tmp", "run", "root", "lib64", "var"):
        (root / name).mkdir(parents=True, exist_ok=True)
    (root / "tmp").chmod(0o1777)
    shutil.copy("/bin/busybox", root / "bin/busybox")
    for applet in APPLETS:
        (root / "bin" / applet).symlink_to("busybox")
    (root / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\npostgres:x:70:70::/var/lib/postgresql:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\npostgres:x:70:\nnogroup:x:65534:\n")
    (root / "etc/nsswitch.conf").write_text("hosts: files dns\n")
    for path in sorted(needed_files(files)):
        target = root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(os.path.realpath(path), target)
    for source, target in dict(trees).items():
        shutil.copytree(source, root / str(target).lstrip("/"), symlinks=True, dirs_exist_ok=True, copy_function=linked)
    for path, content in (texts or {}).items():
        target = root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content)
        target.chmod(0o755)
    return root


def image_from(storage, name, root, *config):
    container = storage.run("buildah", "from", "scratch").strip()
    storage.run("buildah", "copy", "-q", container, str(root) + "/", "/")
    if config:
        storage.run("buildah", "config", *config, container)
    storage.run("buildah", "commit", "-q", "--rm", container, name)
    return name


POSTGRES = pathlib.Path("/usr/lib/postgresql/15")
POSTGRES_START = f"""#!/bin/sh
# What the official image's entrypoint does with these variables, as far as compose.yaml uses them.
set -eu
data=/var/lib/postgresql/data
if [ "$(id -u)" = 0 ]; then
  mkdir -p $data && chown -R postgres $data && chmod 700 $data
  exec su postgres -c "$0"
fi
if [ ! -s $data/PG_VERSION ]; then
  {POSTGRES}/bin/initdb -D $data -U "$POSTGRES_USER" --pwfile="$POSTGRES_PASSWORD_FILE" --auth=scram-sha-256 -E UTF8 --locale=C --no-sync >/dev/null
  echo "host all all all scram-sha-256" >>$data/pg_hba.conf
  echo "CREATE DATABASE $POSTGRES_DB;" | {POSTGRES}/bin/postgres --single -D $data postgres >/dev/null
fi
exec {POSTGRES}/bin/postgres -D $data -c listen_addresses='*' -c unix_socket_directories=/tmp -c fsync=off
"""


def postgres_image(storage, place):
    programs = [POSTGRES / "bin" / name for name in ("postgres", "initdb")] + sorted((POSTGRES / "lib").glob("*.so"))
    root = root_of(place, programs, {"/usr/share/postgresql/15": "/usr/share/postgresql/15"}, {"/start": POSTGRES_START})
    return image_from(storage, "localhost/test-postgres", root, "--entrypoint", '["/start"]')


def node_files():
    return REPO / "build" / "engine"


AZURITE = REPO / "build" / "azurite" / "node_modules"  # bound into the container: twenty thousand files would be copied thrice


def azurite_image(storage, place):
    start = "#!/bin/sh\nexec /srv/node /srv/azurite/node_modules/azurite/dist/src/blob/main.js \"$@\"\n"
    node = os.path.realpath(node_files() / "node")
    root = root_of(place, needed_files([node]) - {node}, {}, {"/usr/local/bin/azurite-blob": start})
    (root / "srv/azurite/node_modules").mkdir(parents=True)
    linked(node, root / "srv/node")
    (root / "data").mkdir()
    return image_from(storage, "localhost/test-azurite", root, "--env", "PATH=/usr/local/bin:/usr/bin:/bin")


def engine_base(storage, place):
    """The base of a runtime image: the demo's engine and a shell, as an OCI layout's path."""
    node = os.path.realpath(node_files() / "node")
    root = root_of(place, needed_files([node]) - {node}, {node_files(): "/srv/engine"})
    name = image_from(storage, "localhost/test-engine", root, "--env", "PATH=/usr/local/bin:/usr/bin:/bin")
    layout = storage.place / "engine-layout"
    storage.run("buildah", "push", "-q", "--disable-compression", name, f"oci:{layout}:latest")
    return layout
