"""A small Debian machine with systemd as its first process, in namespaces of its own: what a unit or a package really does.

Not a container runtime: a directory tree below an overlay, `unshare`, and a control group of its own in every hierarchy. It has no
network but its loopback, /dev with what services use, and memory as /dev/shm. Needs root with CAP_SYS_ADMIN, mmdebstrap for the
first tree (kept in build/e2e), and the network then.
"""
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
TREE = ROOT / "build" / "e2e" / "machine"
PACKAGES = "systemd,systemd-sysv,dbus,ca-certificates,curl,python3"
BOOT = r"""
set -e
root=$0
for hierarchy in /sys/fs/cgroup /sys/fs/cgroup/*; do
  test -w $hierarchy/cgroup.procs || continue
  mkdir -p $hierarchy/$1
  for value in cpus mems; do
    if test -e $hierarchy/$1/cpuset.$value; then cat $hierarchy/cpuset.$value > $hierarchy/$1/cpuset.$value 2>/dev/null || true; fi
  done
  echo $$ > $hierarchy/$1/cgroup.procs 2>/dev/null || true
done
exec unshare --mount --pid --fork --kill-child --ipc --uts --net --cgroup --propagation private bash -c '
set -e
root=$0
ip link set lo up
mount -t proc proc $root/proc
mount -t sysfs sysfs $root/sys
mount -t tmpfs -o mode=755 tmpfs $root/run
mount -t tmpfs -o mode=1777 tmpfs $root/tmp
mount -t tmpfs -o mode=755 tmpfs $root/dev
for node in null zero full random urandom tty fuse; do
  if test -e /dev/$node; then touch $root/dev/$node; mount --bind /dev/$node $root/dev/$node; fi
done
mkdir $root/dev/shm $root/dev/pts $root/dev/mqueue
mount -t tmpfs -o mode=1777 tmpfs $root/dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts $root/dev/pts
ln -s pts/ptmx $root/dev/ptmx
ln -s /proc/self/fd $root/dev/fd
if test -e /sys/fs/cgroup/cgroup.controllers; then
  mount -t cgroup2 cgroup2 $root/sys/fs/cgroup
else
  mount -t tmpfs -o mode=755 tmpfs $root/sys/fs/cgroup
  mkdir $root/sys/fs/cgroup/systemd $root/sys/fs/cgroup/unified
  mount -t cgroup -o none,name=systemd cgroup $root/sys/fs/cgroup/systemd
  mount -t cgroup2 cgroup2 $root/sys/fs/cgroup/unified
fi
cd $root
mkdir -p .host
pivot_root . .host
umount -l .host
rmdir .host
mount --make-rshared /
exec env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 /lib/systemd/systemd --system --log-target=journal --show-status=0
' "$root"
"""


def skip(why):
    print(f"SKIPPED, NOT PROVEN: {why}", file=sys.stderr)
    sys.exit(77)


def tree():
    """The unpacked machine, made once."""
    if not (TREE / "etc/os-release").exists():
        if shutil.which("mmdebstrap") is None:
            skip("mmdebstrap is not installed (group e2e of scripts/apt-packages.txt)")
        fresh = TREE.with_name(f"machine-{os.getpid()}")
        TREE.parent.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(["mmdebstrap", "--quiet", "--variant=minbase", f"--include={PACKAGES}", "bookworm", fresh], capture_output=True,
                              text=True, check=False, timeout=500)
        if done.returncode != 0:
            shutil.rmtree(fresh, ignore_errors=True)
            skip(f"no Debian tree could be made: {done.stderr[-600:]}")
        fresh.rename(TREE)
    return TREE


class Machine:
    """Use as a context. `place`: a directory of the test's own, for what the machine writes."""

    def __init__(self, place):
        if os.geteuid() != 0:
            skip("a machine of one's own needs root")
        self.place, self.root, self.init = pathlib.Path(place), pathlib.Path(place) / "root", None
        self.group = f"tb-machine-{os.getpid()}"

    def __enter__(self):
        memory = self.place / "memory"
        for directory in (memory, self.root):
            directory.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", memory], check=True)
        (memory / "upper").mkdir()
        (memory / "work").mkdir()
        options = f"lowerdir={tree()},upperdir={memory}/upper,workdir={memory}/work"
        done = subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, self.root], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            self.__exit__()
            skip(f"no overlay can be mounted: {done.stderr}")
        return self

    def __exit__(self, *_):
        self.halt()
        for mount in (self.root, self.place / "memory"):
            subprocess.run(["umount", "-l", mount], capture_output=True, check=False)

    def chroot(self, *command):
        """Before it boots, with this machine's network."""
        shutil.copy("/etc/resolv.conf", self.root / "etc/resolv.conf")
        return subprocess.run(["chroot", self.root, *command], capture_output=True, text=True, check=True, timeout=300).stdout

    def boot(self):
        self.unshare = subprocess.Popen(["bash", "-c", BOOT, self.root, self.group], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.PIPE, start_new_session=True)
        end = time.monotonic() + 90
        while time.monotonic() < end and self.unshare.poll() is None:
            children = subprocess.run(["pgrep", "-P", str(self.unshare.pid)], capture_output=True, text=True, check=False).stdout.split()
            if children and os.path.exists(f"/proc/{children[0]}/comm") and open(f"/proc/{children[0]}/comm").read() == "systemd\n":
                self.init = int(children[0])
                done = self.run("systemctl", "is-system-running", "--wait", rc=None)
                if done.stdout.strip() in ("running", "degraded"):
                    return
            time.sleep(0.2)
        said = self.unshare.stderr.read1(2000) if self.unshare.poll() is not None else b"it did not come up"
        skip(f"systemd cannot be started here: {said!r}")

    def run(self, *command, rc=0, timeout=120, **more):
        done = subprocess.run(["nsenter", "-t", str(self.init), "-m", "-p", "-i", "-u", "-n", "-C", "env", "-i", "HOME=/root", "LC_ALL=C.UTF-8",
                               "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND=noninteractive", *command],
                              capture_output=True, text=True, check=False, timeout=timeout, stdin=subprocess.DEVNULL, **more)
        if rc is not None and done.returncode != rc:
            raise AssertionError(f"{command}: {done.returncode}, expected {rc}\n{done.stdout}\n{done.stderr}")
        return done

    def sh(self, script, rc=0, timeout=120):
        return self.run("bash", "-euo", "pipefail", "-c", script, rc=rc, timeout=timeout).stdout

    def halt(self):
        if self.init is not None:
            os.kill(self.init, signal.SIGKILL)
            self.unshare.wait(timeout=60)
            self.init = None
        for base in (pathlib.Path("/sys/fs/cgroup"), *pathlib.Path("/sys/fs/cgroup").glob("*")):
            group = base / self.group
            for _ in range(50):
                if not group.is_dir():
                    break
                for path, _, _ in os.walk(group, topdown=False):
                    try:
                        os.rmdir(path)
                    except OSError:
                        pass
                time.sleep(0.1)
