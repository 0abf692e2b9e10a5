"""OpenSSF Model Signing with a peer that is not ours: what we sign it verifies, what it signs we verify, and the refusals.

The peer below is written from the specification's words alone: digests, root digest, in-toto statement, DSSE, bundle v0.3.
"""
import base64
import datetime
import hashlib
import json
import os
import shutil

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from scenario import check, equal, play

HASHES = {256: hashes.SHA256(), 384: hashes.SHA384(), 521: hashes.SHA512()}
TYPE = b"application/vnd.in-toto+json"


def pem(public):
    return public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def private_pem(key, password=None):
    how = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how)


def pae(payload):
    return b"DSSEv1 %d %s %d %s" % (len(TYPE), TYPE, len(payload), payload)


def files_of(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def resources_of(files, shard=0):
    out = []
    for name, data in files.items():
        spans = [(0, len(data))] if not shard else [(at, min(at + shard, len(data))) for at in range(0, max(len(data), 1), shard)]
        for start, end in spans:
            out.append({"name": f"{name}:{start}:{end}" if shard else name, "algorithm": "sha256",
                        "digest": hashlib.sha256(data[start:end]).hexdigest()})
    return sorted(out, key=lambda r: r["name"])


def sign(files, key, chain=None, shard=0, **serialization_more):
    resources = resources_of(files, shard)
    root = hashlib.sha256(b"".join(bytes.fromhex(r["digest"]) for r in resources)).hexdigest()
    how = {"method": "shards" if shard else "files", "hash_type": "sha256", "allow_symlinks": False, **serialization_more}
    if shard:
        how["shard_size"] = shard
    payload = json.dumps({"_type": "https://in-toto.io/Statement/v1", "subject": [{"name": "m", "digest": {"sha256": root}}],
                          "predicateType": "https://model_signing/signature/v1.0",
                          "predicate": {"serialization": how, "resources": resources}}, indent=1).encode()
    signature = key.sign(pae(payload), ec.ECDSA(HASHES[key.curve.key_size]))
    material = {"publicKey": {"hint": hashlib.sha256(pem(key.public_key())).hexdigest()}}
    if chain:
        material = {"x509CertificateChain": {"certificates": [
            {"rawBytes": base64.b64encode(c.public_bytes(serialization.Encoding.DER)).decode()} for c in chain]}}
    return json.dumps({"mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
                       "verificationMaterial": {**material, "tlogEntries": []},
                       "dsseEnvelope": {"payload": base64.b64encode(payload).decode(), "payloadType": TYPE.decode(),
                                        "signatures": [{"sig": base64.b64encode(signature).decode(), "keyid": ""}]}})


def verify(bundle, public, files):
    """As the specification says; gives the statement."""
    equal(sorted(bundle), ["dsseEnvelope", "mediaType", "verificationMaterial"], "members of the bundle")
    equal(bundle["mediaType"], "application/vnd.dev.sigstore.bundle.v0.3+json", "mediaType")
    envelope = bundle["dsseEnvelope"]
    equal(envelope["payloadType"], TYPE.decode(), "payloadType")
    payload = base64.b64decode(envelope["payload"], validate=True)
    equal(len(envelope["signatures"]), 1, "signatures")
    public.verify(base64.b64decode(envelope["signatures"][0]["sig"], validate=True), pae(payload),
                  ec.ECDSA(HASHES[public.curve.key_size]))
    statement = json.loads(payload)
    equal((statement["_type"], statement["predicateType"]),
          ("https://in-toto.io/Statement/v1", "https://model_signing/signature/v1.0"), "types")
    resources = statement["predicate"]["resources"]
    equal({r["name"]: r["digest"] for r in resources}, {n: hashlib.sha256(d).hexdigest() for n, d in files.items()}, "digests")
    equal([r["name"] for r in resources], sorted(r["name"] for r in resources), "order")
    raw = b"".join(bytes.fromhex(r["digest"]) for r in resources)
    equal(statement["subject"][0]["digest"], {"sha256": hashlib.sha256(raw).hexdigest()}, "root digest")
    return statement


def certificate(subject, key, issuer, issuer_key, code=True, ca=False):
    name = lambda text: x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])
    start = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=1)
    builder = (x509.CertificateBuilder().subject_name(name(subject)).issuer_name(name(issuer)).public_key(key.public_key())
               .serial_number(x509.random_serial_number()).not_valid_before(start)
               .not_valid_after(start + datetime.timedelta(days=30))
               .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
               .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
               .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
               .add_extension(x509.KeyUsage(not ca, False, False, False, False, ca, ca, False, False), critical=True))
    if not ca:
        usage = ExtendedKeyUsageOID.CODE_SIGNING if code else ExtendedKeyUsageOID.SERVER_AUTH
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


def what_we_sign(s, model):
    s.tb("keygen", "--oms", "--out", "signer.pem")
    equal((s.folder / "signer.pem").stat().st_mode & 0o777, 0o600, "mode of the key")
    done = s.tb("encrypt", model, "--asset-id", "m", "--out", "m.tbenc", "--chunk-bytes", 4096, "--oms-key", "signer.pem", "--json")
    equal(done.json()["oms_bundle"], "m.sig", "the bundle")
    public = serialization.load_pem_public_key((s.folder / "signer.pem.pub").read_bytes())
    bundle = json.loads((s.folder / "m.sig").read_text())
    files = {n: d for n, d in files_of(model).items() if not n.startswith(".git/")}
    statement = verify(bundle, public, files)
    equal(statement["subject"][0]["name"], "model", "subject")
    equal(bundle["verificationMaterial"]["publicKey"]["hint"], hashlib.sha256(pem(public)).hexdigest(), "hint")
    check("sha256\"" not in json.dumps(json.loads((s.folder / "m.manifest.json").read_text())["content"]),
          "the manifest has hashes of the plaintext that nobody asked for")
    proven = s.tb("verify", "m.tbenc", "--key-file", "m.tbenc.key", "--oms-key", "signer.pem.pub", "--json").json()
    equal((proven["proofs"][-1], proven["oms"]), ("oms", {"subject": "model", "files": len(files)}), "proof")
    s.tb("verify", model, "--oms-key", "signer.pem.pub", "--oms-bundle", "m.sig")
    # Another ciphertext, of a model that differs in one byte.
    changed = s.folder / "changed"
    shutil.copytree(model, changed)
    (changed / "w.gguf").write_bytes(b"?" + (model / "w.gguf").read_bytes()[1:])
    s.tb("encrypt", changed, "--asset-id", "m", "--out", "changed.tbenc")
    s.fails("oms_content_mismatch", 4, "verify", "changed.tbenc", "--key-file", "changed.tbenc.key", "--oms-key",
            "signer.pem.pub", "--oms-bundle", "m.sig")
    s.tb("keygen", "--oms", "--out", "stranger.pem")
    s.fails("oms_key_mismatch", 3, "verify", "m.tbenc", "--key-file", "m.tbenc.key", "--oms-key", "stranger.pem.pub")
    # One file, and nobody who looks at it twice.
    s.tb("encrypt", model / "w.gguf", "--asset-id", "w", "--out", "w.tbenc", "--oms-key", "signer.pem", "--chunk-bytes", 4096)
    verify(json.loads((s.folder / "w.sig").read_text()), public, {"w.gguf": (model / "w.gguf").read_bytes()})
    s.tb("verify", "w.tbenc", "--key-file", "w.tbenc.key", "--oms-key", "signer.pem.pub")
    s.tb("verify", model / "w.gguf", "--plaintext", "--oms-key", "signer.pem.pub", "--oms-bundle", "w.sig")


def what_others_sign(s, model):
    files = {n: d for n, d in files_of(model).items() if not n.startswith(".git/")}
    for curve in (ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()):
        key = ec.generate_private_key(curve)
        s.file("other.pub", pem(key.public_key()))
        # The tool's own habit: the bundle lies in the model's directory.
        s.file("model/model.sig", sign(files, key))
        s.tb("verify", model, "--oms-key", "other.pub")
        s.file("shards.sig", sign(files, key, shard=1000, ignore_paths=["model.sig"]))
        s.tb("verify", model, "--oms-key", "other.pub", "--oms-bundle", "shards.sig")
        s.tb("verify", "m.tbenc", "--key-file", "m.tbenc.key", "--oms-key", "other.pub", "--oms-bundle", "shards.sig")
        os.unlink(model / "model.sig")

    bundle = sign(files, key)
    s.file("b.sig", bundle)
    at = ["--oms-key", "other.pub", "--oms-bundle", "b.sig"]
    s.file("model/late.txt", "unsigned")
    late = s.fails("oms_content_mismatch", 4, "verify", model, *at)
    check("late.txt" in late.json()["error"]["message"], late.out)
    os.unlink(model / "late.txt")
    os.symlink("w.gguf", model / "link.gguf")
    s.fails("oms_content_mismatch", 4, "verify", model, *at)
    linked = {**files, "link.gguf": files["w.gguf"]}
    s.file("links.sig", sign(linked, key, allow_symlinks=True))
    s.tb("verify", model, "--oms-key", "other.pub", "--oms-bundle", "links.sig")
    os.unlink(model / "link.gguf")
    os.rename(model / "config.json", s.folder / "config.json")
    s.fails("oms_content_mismatch", 4, "verify", model, *at)
    os.rename(s.folder / "config.json", model / "config.json")
    # A statement that was changed under its signature.
    document = json.loads(bundle)
    payload = base64.b64decode(document["dsseEnvelope"]["payload"]).replace(b'"name": "m"', b'"name": "n"')
    document["dsseEnvelope"]["payload"] = base64.b64encode(payload).decode()
    s.file("bent.sig", json.dumps(document))
    s.fails("oms_signature_mismatch", 4, "verify", model, "--oms-key", "other.pub", "--oms-bundle", "bent.sig")


def certificates(s, model):
    files = {n: d for n, d in files_of(model).items() if not n.startswith(".git/")}
    root_key, middle_key, leaf_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
    root = certificate("root", root_key, "root", root_key, ca=True)
    middle = certificate("middle", middle_key, "root", root_key, ca=True)
    leaf = certificate("leaf", leaf_key, "middle", middle_key)
    as_pem = lambda *chain: b"".join(c.public_bytes(serialization.Encoding.PEM) for c in chain)
    s.file("root.pem", as_pem(root))
    s.file("c.sig", sign(files, leaf_key, [leaf, middle]))
    s.tb("verify", model, "--oms-ca", "root.pem", "--oms-bundle", "c.sig")
    s.fails("oms_key_mismatch", 3, "verify", model, "--oms-key", "signer.pem.pub", "--oms-bundle", "c.sig")
    s.file("other-root.pem", as_pem(certificate("root", middle_key, "root", middle_key, ca=True)))
    s.fails("oms_certificate_refused", 3, "verify", model, "--oms-ca", "other-root.pem", "--oms-bundle", "c.sig")
    server = certificate("leaf", leaf_key, "middle", middle_key, code=False)
    s.file("server.sig", sign(files, leaf_key, [server, middle]))
    s.fails("oms_certificate_refused", 3, "verify", model, "--oms-ca", "root.pem", "--oms-bundle", "server.sig")
    s.file("short.sig", sign(files, leaf_key, [leaf]))
    s.fails("oms_certificate_refused", 3, "verify", model, "--oms-ca", "root.pem", "--oms-bundle", "short.sig")
    # And ours by certificate.
    s.file("leaf.key", private_pem(leaf_key)).chmod(0o600)
    s.file("chain.pem", as_pem(leaf, middle))
    s.tb("encrypt", model, "--asset-id", "m", "--out", "c.tbenc", "--oms-key", "leaf.key", "--oms-certificates", "chain.pem",
         "--oms-bundle", "ours.sig")
    ours = json.loads((s.folder / "ours.sig").read_text())
    verify(ours, leaf.public_key(), files)
    equal(len(ours["verificationMaterial"]["x509CertificateChain"]["certificates"]), 2, "certificates")
    s.tb("verify", "c.tbenc", "--key-file", "c.tbenc.key", "--oms-ca", "root.pem", "--oms-bundle", "ours.sig")
    s.file("wrong-chain.pem", as_pem(middle, leaf))
    s.fails("oms_certificate_refused", 3, "encrypt", model, "--asset-id", "m", "--out", "x.tbenc", "--oms-key", "leaf.key",
            "--oms-certificates", "wrong-chain.pem")


def refusals(s, model):
    encrypt = ["encrypt", model, "--asset-id", "m", "--out", "x.tbenc", "--oms-key"]
    for name, key in (("rsa", rsa.generate_private_key(65537, 2048)), ("ed25519", ed25519.Ed25519PrivateKey.generate()),
                      ("p256k1", ec.generate_private_key(ec.SECP256K1()))):
        s.file(f"{name}.pem", private_pem(key)).chmod(0o600)
        s.fails("oms_key_refused", 4, *encrypt, f"{name}.pem")
        s.file(f"{name}.pub", pem(key.public_key()))
        s.fails("oms_key_refused", 4, "verify", model, "--oms-key", f"{name}.pub", "--oms-bundle", "b.sig")
    s.file("locked.pem", private_pem(ec.generate_private_key(ec.SECP256R1()), b"secret")).chmod(0o600)
    s.fails("oms_key_refused", 4, *encrypt, "locked.pem")
    s.file("open.pem", (s.folder / "signer.pem").read_bytes()).chmod(0o644)
    s.fails("file_mode_unsafe", 3, *encrypt, "open.pem")
    s.fails("output_is_input", 7, *encrypt, "signer.pem", "--oms-bundle", model / "model.sig")
    s.file("x.sig", "somebody's")
    s.fails("output_exists", 7, *encrypt, "signer.pem")
    equal((s.folder / "x.sig").read_text(), "somebody's", "the file that was there")
    s.absent("x.tbenc", "x.tbenc.key", "x.manifest.json")
    s.fails("usage", 2, "encrypt", model, "--asset-id", "m", "--out", "y.tbenc", "--oms-bundle", "y.sig")
    s.fails("usage", 2, "verify", "m.tbenc", "--oms-key", "signer.pem.pub")
    s.fails("usage", 2, "verify", "m.tbenc", "--key-file", "m.tbenc.key", "--no-manifest", "--oms-key", "signer.pem.pub")
    s.fails("usage", 2, "verify", model)
    s.fails("usage", 2, "verify", model, "--oms-bundle", "b.sig")
    s.fails("usage", 2, "verify", model, "--key-file", "m.tbenc.key", "--oms-key", "signer.pem.pub")
    s.fails("file_not_found", 5, "verify", model, "--oms-key", "signer.pem.pub")
    s.fails("usage", 2, "keygen", "--oms", "--signing", "--out", "both")


def story(s):
    model = s.folder / "model"
    s.file("model/config.json", '{"model_type": "llama"}')
    s.file("model/empty.txt")
    s.file("model/tokenizer/模型.json", "{}")
    s.file("model/.git/HEAD", "ref: refs/heads/main")
    s.model("model/w.gguf", 30_000)
    what_we_sign(s, model)
    what_others_sign(s, model)
    certificates(s, model)
    refusals(s, model)


play(story)
