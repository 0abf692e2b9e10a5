"""upload --store file:DIR: the kept blob names, the same bytes, and only what belongs together."""
from scenario import check, equal, play


def story(s):
    s.asset("my-model", out="model.tbenc")
    done = s.tb("upload", "--encrypted-file", "model.tbenc", "--store", "file:store", "--asset-id", "my-model", "--json").json()
    folder = s.folder / "store/models/my-model"
    equal((folder / "model.tbenc").read_bytes(), (s.folder / "model.tbenc").read_bytes(), "ciphertext")
    equal((folder / "model.manifest.json").read_bytes(), (s.folder / "model.manifest.json").read_bytes(), "manifest")
    equal(done["blob_urls"]["ciphertext"], f"file://{folder.resolve()}/model.tbenc", "url")
    check(not (folder / "model.tbenc.key").exists(), "the key was uploaded")
    s.fails("output_exists", 7, "upload", "--encrypted-file", "model.tbenc", "--store", "file:store")
    s.tb("upload", "--encrypted-file", "model.tbenc", "--store", "file:store", "--force")
    s.fails("asset_mismatch", 4, "upload", "--encrypted-file", "model.tbenc", "--store", "file:other", "--asset-id", "another")
    cipher = bytearray((s.folder / "model.tbenc").read_bytes())
    cipher[1000] ^= 1
    s.file("flipped.tbenc", bytes(cipher))
    s.fails("ciphertext_digest_mismatch", 4, "upload", "--encrypted-file", "flipped.tbenc", "--manifest", "model.manifest.json",
            "--store", "file:fresh")
    s.absent("fresh/models/my-model/model.tbenc", "fresh/models/my-model/model.manifest.json", "other")


play(story)
