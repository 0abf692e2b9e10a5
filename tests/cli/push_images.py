"""build to Debian's own registry: open, with a password, with tokens, by a credential helper, through a proxy that drops connections."""
import base64
import json
import os
import urllib.request

import build_program
import registry_process
from registry_process import PASSWORD, USER
from scenario import check, equal, play


def login_file(s, name, registry, entry):
    return s.file(name, json.dumps({"auths": {registry: entry}})).chmod(0o600) or s.folder / name


def story(s):
    build_program.make(s)
    flags = ["build", "--sentinel-binary", "sentinel", "--json"]
    auth = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    started = []

    def registry(name, how=""):
        started.append(registry_process.RegistryProcess(s.folder, name, how))
        return started[-1]

    try:
        # Open: pushed, read back by others, pushed again without a byte, and used as a base.
        plain = registry("open")
        first = s.tb(*flags, "--registry", plain.host, "--tag", "1.0").json()
        equal(first["sent_blobs"], 4, "blobs of the first push")
        equal(first["reference"], f"{plain.host}/trustbridge-sentinel:1.0@{first['digest']}", "reference")
        asked = urllib.request.Request(f"http://{plain.host}/v2/trustbridge-sentinel/manifests/1.0",
                                       headers={"Accept": "application/vnd.oci.image.manifest.v1+json"})
        with urllib.request.urlopen(asked, timeout=30) as answer:
            equal(len(json.load(answer)["layers"]), 3, "layers in the registry")
        again = s.tb(*flags, "--tag", "2.0", environment={"DOCKER_REGISTRY": plain.host}).json()
        equal((again["sent_blobs"], again["present_blobs"]), (0, 4), "blobs of the second push")
        equal(again["digest"], first["digest"], "digest")
        unpushed = s.tb(*flags, "--no-push", "--archive", "a.tar", environment={"DOCKER_REGISTRY": "127.0.0.1:1"}).json()
        equal(unpushed["reference"], None, "reference of what was not pushed")
        base = f"{plain.host}/trustbridge-sentinel:1.0"
        runtime = s.tb(*flags, "--base-image", base, "--registry", plain.host + "/team").json()
        equal(runtime["layer_digests"][:3], first["layer_digests"], "layers of the base")
        check(runtime["reference"].startswith(plain.host + "/team/trustbridge-runtime:latest@"), runtime["reference"])
        other = s.tb(*flags, "--base-image", base + "@" + first["digest"], "--archive", "b.tar").json()
        equal(other["layer_digests"], runtime["layer_digests"], "the base by its digest")
        s.fails("image_not_found", 5, *flags[:-1], "--base-image", f"{plain.host}/nothing", "--archive", "c.tar")
        s.fails("image_not_found", 5, *flags[:-1], "--base-image", f"{plain.host}/trustbridge-sentinel@sha256:" + "0" * 64, "--archive", "c.tar")

        # A password, from where podman and docker keep it, and what is said without it.
        closed = registry("closed", registry_process.users(s.folder))
        pushed = ["--registry", closed.host]
        denied = s.fails("registry_denied", 3, *flags[:-1], *pushed)
        check("REGISTRY_AUTH_FILE" in denied.err, "no hint")
        login_file(s, "wrong.json", closed.host, {"auth": base64.b64encode(f"{USER}:wrong".encode()).decode()})
        s.fails("registry_denied", 3, *flags[:-1], *pushed, "--auth-file", "wrong.json")
        login_file(s, "right.json", closed.host, {"auth": auth})
        done = s.tb(*flags, *pushed, environment={"REGISTRY_AUTH_FILE": str(s.folder / "right.json")})
        equal(done.json()["digest"], first["digest"], "digest")
        check(PASSWORD not in done.err + done.out and auth not in done.err + done.out, "the password was printed")
        s.file("home/.docker/config.json", json.dumps({"auths": {f"https://{closed.host}/v2/": {"username": USER, "password": PASSWORD}}})).chmod(0o644)
        warned = s.tb(*flags, *pushed, "--tag", "by-docker")
        check("others can read" in warned.err, "an open login file was taken without a word")
        os.unlink(s.folder / "home/.docker/config.json")

        # A credential helper: asked on its standard input, its words not believed blindly.
        helper = s.file("bin/docker-credential-test", '#!/bin/sh\nread -r url\n[ "$1" = get ] && [ "$url" = "%s" ] || exit 1\n'
                        'echo \'{"Username":"%s","Secret":"%s"}\'\n' % (closed.host, USER, PASSWORD))
        helper.chmod(0o755)
        path = {"PATH": f"{s.folder}/bin:{os.environ['PATH']}"}
        s.file("helped.json", json.dumps({"credHelpers": {closed.host: "test"}})).chmod(0o600)
        s.tb(*flags, *pushed, "--tag", "helped", "--auth-file", "helped.json", environment=path)
        s.file("stored.json", json.dumps({"credsStore": "test"})).chmod(0o600)
        s.tb(*flags, *pushed, "--tag", "stored", "--auth-file", "stored.json", environment=path)
        helper.write_text("#!/bin/sh\necho nonsense\n")
        s.fails("registry_denied", 3, *flags[:-1], *pushed, "--auth-file", "helped.json", environment=path)
        s.file("hostile.json", json.dumps({"credsStore": "../../bin/sh"})).chmod(0o600)
        s.fails("config_invalid", 2, *flags[:-1], *pushed, "--auth-file", "hostile.json")
        s.fails("file_not_found", 5, *flags[:-1], *pushed, "--auth-file", "absent.json")

        # Tokens, by password and by a refresh token; they are asked for anew when the registry wants another scope.
        tokens = registry_process.TokenServer(s.folder)
        started.append(tokens)
        guarded = registry("guarded", tokens.auth())
        s.fails("registry_denied", 3, *flags[:-1], "--registry", guarded.host)
        login_file(s, "token.json", guarded.host, {"auth": auth})
        equal(s.tb(*flags, "--registry", guarded.host, "--auth-file", "token.json").json()["sent_blobs"], 4, "blobs")
        check(any("push" in query.get("scope", [""])[0] for query in tokens.asked), "no token to push was asked for")
        login_file(s, "refresh.json", guarded.host, {"identitytoken": "refresh+/=me"})
        equal(s.tb(*flags, "--registry", guarded.host, "--auth-file", "refresh.json").json()["present_blobs"], 4, "blobs")

        # Dropped connections: the push goes on by itself; when it cannot, the same command goes on later.
        target = registry("dropped")
        proxy = registry_process.DroppingProxy(target.port)
        started.append(proxy)
        proxy.cut_after, proxy.cuts = 200_000, 3
        equal(s.tb(*flags, "--registry", proxy.host).json()["digest"], first["digest"], "digest")
        equal(proxy.cut, 3, "cuts")
        target.close()
        gone = s.fails("registry_unavailable", 6, *flags[:-1], "--registry", "127.0.0.1:1")
        check("same command" in gone.err, "no hint")
    finally:
        for one in started:
            one.close()


play(story)
