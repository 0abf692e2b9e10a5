"""A Hugging Face style directory comes back: shards, tokenizer, an executable, a link that stays inside."""
import os

from peer import safetensors
from scenario import check, equal, play


def story(s):
    s.file("m/config.json", '{"architectures": ["LlamaForCausalLM"]}')
    s.file("m/tokenizer.json", "{}")
    s.file("m/blobs/shard1", safetensors({"a.weight": [64, 32]}))
    os.symlink("blobs/shard1", s.folder / "m/model-00001-of-00002.safetensors")
    s.file("m/model-00002-of-00002.safetensors", safetensors({"b.weight": [128, 32]}))
    os.chmod(s.file("m/run.sh", "#!/bin/sh\n"), 0o755)
    done = s.tb("encrypt", "m", "--asset-id", "llama", "--chunk-bytes", 4096, "--json").json()
    equal(done["files"], 6, "files")
    s.tb("decrypt", "model.tbenc", "--key-file", "model.tbenc.key", "--out", "back")
    for name in ("config.json", "tokenizer.json", "blobs/shard1", "model-00001-of-00002.safetensors", "run.sh"):
        equal((s.folder / "back" / name).read_bytes(), (s.folder / "m" / name).read_bytes(), name)
    check(not (s.folder / "back/model-00001-of-00002.safetensors").is_symlink(), "a link was unpacked")
    check(os.access(s.folder / "back/run.sh", os.X_OK), "run.sh lost its mode")
    s.fails("output_exists", 7, "decrypt", "model.tbenc", "--key-file", "model.tbenc.key", "--out", "back")
    s.tb("decrypt", "model.tbenc", "--key-file", "model.tbenc.key", "--out", "back", "--force")
    verified = s.tb("verify", "model.tbenc", "--key-file", "model.tbenc.key", "--json").json()
    equal(verified["proofs"], ["mac", "tags", "content"], "proofs")


play(story)
