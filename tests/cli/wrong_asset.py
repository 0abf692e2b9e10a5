"""Another asset than the one asked for, and the manifest of another asset: each its own error."""
from scenario import play


def story(s):
    s.asset("asset-a", 300_000, "a.tbenc")
    s.asset("asset-b", 300_000, "b.tbenc")
    s.fails("asset_mismatch", 4, "decrypt", "a.tbenc", "--asset-id", "asset-b", "--key-file", "a.tbenc.key", "--out", "x")
    s.fails("asset_mismatch", 4, "verify", "a.tbenc", "--asset-id", "asset-b")
    s.fails("asset_mismatch", 4, "inspect", "a.tbenc", "--asset-id", "asset-b")
    # B's manifest with A's key, with B's key, and with no key: the file is not the manifest's.
    s.fails("mac_mismatch", 4, "decrypt", "a.tbenc", "--manifest", "b.manifest.json", "--key-file", "a.tbenc.key", "--out", "x")
    s.fails("nonce_prefix_mismatch", 4, "decrypt", "a.tbenc", "--manifest", "b.manifest.json", "--key-file", "b.tbenc.key",
            "--out", "x")
    s.fails("nonce_prefix_mismatch", 4, "verify", "a.tbenc", "--manifest", "b.manifest.json")
    s.fails("nonce_prefix_mismatch", 4, "upload", "--encrypted-file", "a.tbenc", "--manifest", "b.manifest.json", "--store",
            "file:store")
    s.absent("x", "store")


play(story)
