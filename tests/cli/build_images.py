"""build: the same bytes every time, to a layout, an archive and a real registry; and what it refuses. The program in the images is a
small one with our way of finding its libraries; the real ones are built and run by tests/containers."""
import gzip
import hashlib
import io
import json
import os
import subprocess
import tarfile

import build_program
from scenario import SOURCE, check, equal, play


def blob(folder, digest):
    data = (folder / "blobs/sha256" / digest.removeprefix("sha256:")).read_bytes()
    equal("sha256:" + hashlib.sha256(data).hexdigest(), digest, "a blob's digest")
    return data


def tree(folder, digest):
    """Every file of the image's layers, by tarfile, which is not ours."""
    out = {}
    for layer in json.loads(blob(folder, digest))["layers"]:
        with tarfile.open(fileobj=io.BytesIO(gzip.decompress(blob(folder, layer["digest"])))) as tar:
            for member in tar:
                out[member.name] = (member, tar.extractfile(member).read() if member.isfile() else None)
    return out


def story(s):
    build_program.make(s)
    flags = ["--sentinel-binary", "sentinel"]
    once = s.tb("build", *flags, "--oci-layout", "one", "--json").json()
    twice = s.tb("build", *flags, "--oci-layout", "two", "--archive", "two.tar", "--json").json()
    equal(once["digest"], twice["digest"], "digests of two builds")
    equal((s.folder / "one/index.json").read_bytes(), (s.folder / "two/index.json").read_bytes(), "index.json")
    s.tb("build", *flags, "--archive", "again.tar")
    equal((s.folder / "two.tar").read_bytes(), (s.folder / "again.tar").read_bytes(), "archives")
    other = s.tb("build", *flags, "--archive", "later.tar", "--json", environment={"SOURCE_DATE_EPOCH": "1700000000"}).json()
    check(other["digest"] != once["digest"], "the time is not in the image")

    layout = s.folder / "one"
    manifest = json.loads(blob(layout, once["digest"]))
    config = json.loads(blob(layout, manifest["config"]["digest"]))
    equal([hashlib.sha256(gzip.decompress(blob(layout, x["digest"]))).hexdigest() for x in manifest["layers"]],
          [x.removeprefix("sha256:") for x in config["rootfs"]["diff_ids"]], "diff ids")
    equal(config["config"]["User"], "65532:65532", "user")
    equal(config["config"]["Entrypoint"], ["/opt/trustbridge/bin/trustbridge-sentinel"], "entrypoint")
    equal(config["config"]["Healthcheck"]["Test"], ["CMD", "/opt/trustbridge/bin/trustbridge-sentinel", "healthcheck"], "health check")
    files = tree(layout, once["digest"])
    for name, (member, _) in files.items():
        equal((member.mtime, member.uname, member.gname), (0, "", ""), f"time and names of {name}")
        check(member.uid in (0, 65532) and not name.startswith("/"), f"owner or name of {name}")
    check(not any(name.endswith("/sh") or "busybox" in name for name in files), "there is a shell")
    sbom = json.loads(files["opt/trustbridge/share/sbom/trustbridge-sentinel.spdx.json"][1])
    equal(sbom["spdxVersion"], "SPDX-2.3", "SBOM")
    told = {entry["fileName"]: entry["checksums"][0]["checksumValue"] for entry in sbom["files"]}
    for name, (member, content) in files.items():
        if member.isfile() and (name.startswith("opt/trustbridge/lib") or name.startswith("opt/trustbridge/bin") or name.endswith("ld.so")):
            equal(told.pop("./" + name), hashlib.sha256(content).hexdigest(), f"SBOM of {name}")
    equal(told, {}, "files that the SBOM has and the image has not")
    libc = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", "libc6"], capture_output=True, text=True, check=True).stdout
    check(any(p["name"] == "libc6" and p["versionInfo"] == libc for p in sbom["packages"]), "libc6 is not in the SBOM")

    # The program runs as it lies in the image, by its own loader and libraries: in a root of nothing else, where we may make one.
    if os.geteuid() == 0:
        root = s.folder / "root"
        for name, (member, content) in files.items():
            if member.isfile():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).write_bytes(content)
                (root / name).chmod(member.mode)
        # Its loader asks /proc where the program lies; here is none.
        done = subprocess.run(["/usr/sbin/chroot", str(root), "/opt/trustbridge/bin/trustbridge-sentinel"], capture_output=True, text=True, check=False,
                              env={"LD_ORIGIN_PATH": "/opt/trustbridge/bin"})
        equal((done.returncode, done.stdout), (0, "hello\n"), f"the program in its image: {done.stderr}")

    # A runtime image on top of that one: its layers below, our script as its start.
    built = s.tb("build", *flags, "--base-image", "oci:one:latest", "--oci-layout", "runtime", "--label", "org.example.team=a b", "--json").json()
    equal(built["layer_digests"][:3], once["layer_digests"], "the base's layers")
    runtime = json.loads(blob(s.folder / "runtime", json.loads(blob(s.folder / "runtime", built["digest"]))["config"]["digest"]))
    equal(runtime["config"]["Entrypoint"], ["/opt/trustbridge/bin/entrypoint.sh"], "entrypoint of a runtime")
    equal(runtime["config"]["Labels"]["org.example.team"], "a b", "label")
    script = tree(s.folder / "runtime", built["digest"])["opt/trustbridge/bin/entrypoint.sh"]
    check(script[1] == (SOURCE / "runtime/entrypoint.sh").read_bytes(), "entrypoint.sh is another one")
    equal(script[0].mode, 0o755, "mode of entrypoint.sh")
    archived = s.tb("build", *flags, "--base-image", "oci-archive:two.tar", "--oci-layout", "runtime2", "--label", "org.example.team=a b", "--json").json()
    equal(archived["digest"], built["digest"], "the same base from an archive")

    s.fails("usage", 2, "build", *flags)
    s.fails("usage", 2, "build", *flags, "--what", "runtime", "--archive", "x.tar")
    s.fails("usage", 2, "build", *flags, "--what", "shell", "--archive", "x.tar")
    s.fails("usage", 2, "build", *flags, "--archive", "x.tar", "--label", "no equals")
    s.fails("usage", 2, "build", *flags, "--archive", "x.tar", "--label", "a=b\nc")
    s.fails("usage", 2, "build", *flags, "--archive", "x.tar", environment={"SOURCE_DATE_EPOCH": "now"})
    s.fails("output_exists", 7, "build", *flags, "--archive", "two.tar")
    for name in ("../up", "UP", "a b", "a;b", "$(id)", "a//b", "-a", "a\n"):
        s.fails("image_reference_invalid", 2, "build", *flags, f"--image-name={name}", "--archive", "x.tar")
    for tag in ("a b", "-x", "a/b", "a" * 129):
        s.fails("image_reference_invalid", 2, "build", *flags, f"--tag={tag}", "--archive", "x.tar")
    for registry in ("noregistry", "user@host.x", "http://host.x", "host.x/../a", "host.x:0"):
        s.fails("image_reference_invalid", 2, "build", *flags, f"--registry={registry}")
    s.fails("image_malformed", 4, "build", "--sentinel-binary", "sentinel.c", "--archive", "x.tar")
    s.fails("image_malformed", 4, "build", "--sentinel-binary", "/bin/true", "--archive", "x.tar")
    s.fails("image_not_found", 5, "build", *flags, "--base-image", "oci:one:other", "--archive", "x.tar")
    s.fails("file_not_found", 5, "build", *flags, "--base-image", "oci:nowhere", "--archive", "x.tar")
    layer = s.folder / "one/blobs/sha256" / once["layer_digests"][2].removeprefix("sha256:")
    content = bytearray(layer.read_bytes())
    content[100] ^= 1
    layer.write_bytes(content)
    s.fails("image_digest_mismatch", 4, "build", *flags, "--base-image", "oci:one", "--archive", "x.tar")
    s.absent("x.tar")


play(story)
