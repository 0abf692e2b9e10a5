"""verify: what is proven with the key, without it, with the provider's key; and every kind of damage."""
import json

import peer
from scenario import check, equal, play


def story(s):
    s.tb("keygen", "--signing", "--out", "provider.key")
    s.tb("keygen", "--signing", "--out", "stranger.key")
    s.file("m/config.json", "{}")
    s.file("m/w.safetensors", peer.safetensors({"a": [100, 100]}))
    s.tb("encrypt", "m", "--asset-id", "a", "--out", "a.tbenc", "--chunk-bytes", 4096, "--sign-key", "provider.key",
         "--plaintext-hashes")
    key = ["--key-file", "a.tbenc.key"]
    equal(s.tb("verify", "a.tbenc", *key, "--json").json()["proofs"], ["mac", "tags", "content"], "with the key")
    done = s.tb("verify", "a.tbenc", "--json")
    equal(done.json()["proofs"], ["sha256"], "with nothing")
    check("warning: the manifest itself is not authenticated" in done.err, done.err)
    done = s.tb("verify", "a.tbenc", "--provider-key", "provider.key.pub", "--json")
    equal((done.json()["proofs"], done.json()["end_authenticated"]), (["signature", "sha256"], True), "with the signature")
    s.fails("signature_missing", 3, "verify", "a.tbenc", "--provider-key", "stranger.key.pub")
    s.fails("public_key_malformed", 4, "verify", "a.tbenc", "--provider-key", "a.manifest.json")
    cipher = (s.folder / "a.tbenc").read_bytes()
    record = 32 + 4096 + 20
    damages = {
        "flipped": (cipher[:500] + bytes([cipher[500] ^ 1]) + cipher[501:], "tag_mismatch", "ciphertext_digest_mismatch"),
        "cut": (cipher[:-1], "ciphertext_truncated", "ciphertext_truncated"),
        "border": (cipher[:record], "ciphertext_truncated", "ciphertext_truncated"),
        "longer": (cipher + b"\0", "trailing_bytes", "trailing_bytes"),
        "swapped": (cipher[:32] + cipher[record:record + 4116] + cipher[32:record] + cipher[record + 4116:], "tag_mismatch",
                    "ciphertext_digest_mismatch"),
    }
    for name, (content, with_key, without) in damages.items():
        s.file(f"{name}.tbenc", content)
        s.fails(with_key, 4, "verify", f"{name}.tbenc", "--manifest", "a.manifest.json", *key)
        s.fails(without, 4, "verify", f"{name}.tbenc", "--manifest", "a.manifest.json")
        s.fails(with_key, 4, "decrypt", f"{name}.tbenc", "--manifest", "a.manifest.json", *key, "--out", "x")
        s.absent("x")
    manifest = json.loads((s.folder / "a.manifest.json").read_text())
    for field, value in (("allow_finetune", False), ("plaintext_bytes", manifest["plaintext_bytes"] - 1), ("weights_filename", "b"),
                         ("new_field", 1)):
        s.file("edited.json", json.dumps({**manifest, field: value}))
        s.fails("mac_mismatch", 4, "verify", "a.tbenc", "--manifest", "edited.json", *key)
        s.fails("signature_mismatch", 4, "verify", "a.tbenc", "--manifest", "edited.json", "--provider-key", "provider.key.pub")


play(story)
