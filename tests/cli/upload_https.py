"""upload to an https store that takes PUT, here nginx's dav module: equal bytes are recognised, others are never replaced unseen,
and what such a store can refuse is an error that says what to change."""

from scenario import check, equal, play
from webdav import Nginx


def story(s):
    s.asset("m", 3_000_000, "m.tbenc")
    cipher, manifest = (s.folder / "m.tbenc").read_bytes(), (s.folder / "m.manifest.json").read_bytes()
    nginx = Nginx(s.folder / "nginx", authorization="Bearer s3cret")
    s.file("auth", "Bearer s3cret\n").chmod(0o600)
    upload = ["upload", "--encrypted-file", "m.tbenc", "--store", nginx.url() + "/"]
    with_auth = [*upload, "--authorization-file", "auth"]
    try:
        refused = s.fails("blob_refused", 3, *upload)
        check("--authorization-file" in refused.json()["error"]["hint"], refused.out)
        done = s.tb(*with_auth, "--json")
        check("s3cret" not in done.out + done.err, "the secret is shown")
        equal(done.json()["blob_urls"]["ciphertext"], nginx.url() + "/models/m/model.tbenc", "url")
        equal((nginx.get("m/model.tbenc"), nginx.get("m/model.manifest.json")), (cipher, manifest), "blobs")
        again = s.tb(*with_auth, "--json").json()["blobs"]
        check(again["ciphertext"]["already_there"] and again["manifest"]["already_there"], again)

        there = nginx.root / "models/m/model.tbenc"
        other = bytes(len(cipher))
        there.write_bytes(other)
        s.fails("blob_conflict", 7, *with_auth)
        equal(there.read_bytes(), other, "what was there")
        s.tb(*with_auth, "--overwrite")
        equal(there.read_bytes(), cipher, "ciphertext")

        # Hashed while it is sent: another ciphertext than the manifest's never appears.
        flipped = bytearray(cipher)
        flipped[-5] ^= 1
        s.file("flipped.tbenc", bytes(flipped))
        there.unlink()
        s.fails("ciphertext_digest_mismatch", 4, *with_auth[:2], "flipped.tbenc", *with_auth[3:], "--manifest", "m.manifest.json")
        check(not there.exists(), "a ciphertext that is not the manifest's")
        (s.folder / "auth").chmod(0o644)
        s.fails("file_mode_unsafe", 3, *with_auth)
    finally:
        nginx.close()
    s.fails("usage", 2, *upload[:4], "https://user:pw@store.example/x")
    s.fails("usage", 2, *upload[:4], "https://store.example/x?sig=1")
    s.fails("usage", 2, *upload, "--storage-account", "acct1")
    s.fails("usage", 2, *upload[:4], "cp:", "--authorization-file", "auth")
    s.fails("url_refused", 3, *upload[:4], "http://store.example/x")
    for more, reason, rc in (("limit_except GET { deny all; }", "blob_refused", 3), ("client_max_body_size 1m;", "store_answer_unexpected", 4)):
        nginx = Nginx(s.folder / f"nginx-{rc}", more=f"location / {{ {more} }}")
        try:
            check(s.fails(reason, rc, *upload[:4], nginx.url()).json()["error"]["hint"], "no hint")
        finally:
            nginx.close()


play(story)
