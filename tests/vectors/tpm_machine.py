"""A TPM for the forgeries: swtpm driven by tpm2-tools, and the marshalling of TPM structures in Python.

The real TPM signs what is real. What needs a valid signature under a statement that no TPM would make is signed by a
software key that the file enrols as if a verifier had been deceived into it: then the next check must catch it.
"""
import atexit
import base64
import hashlib
import os
import pathlib
import struct
import subprocess
import tempfile
import time

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

SHA1, SHA256, ECDSA, RSASSA, NULL = 0x0004, 0x000B, 0x0018, 0x0014, 0x0010
EK_POLICY = bytes.fromhex("837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa")
AK_ATTRIBUTES = 1 << 1 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 16 | 1 << 18
EK_ATTRIBUTES = 1 << 1 | 1 << 4 | 1 << 5 | 1 << 7 | 1 << 16 | 1 << 17


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def sized(data):
    return struct.pack(">H", len(data)) + data


def name_of(public):
    return struct.pack(">H", SHA256) + hashlib.sha256(public).digest()


def qualified_name(ek, ak):
    root = name_of(ek)
    of_ek = struct.pack(">H", SHA256) + hashlib.sha256(struct.pack(">I", 0x4000000B) + root).digest()
    return struct.pack(">H", SHA256) + hashlib.sha256(of_ek + name_of(ak)).digest()


def ecc_public(key, attributes=AK_ATTRIBUTES, scheme=(ECDSA, SHA256), policy=b"", symmetric=NULL):
    numbers = key.public_key().public_numbers()
    out = struct.pack(">HHI", 0x0023, SHA256, attributes) + sized(policy)
    out += struct.pack(">H", NULL) if symmetric == NULL else struct.pack(">HHH", *symmetric)
    out += struct.pack(">H", NULL) if scheme is None else struct.pack(">HH", *scheme)
    out += struct.pack(">HH", 3, NULL)
    return out + sized(numbers.x.to_bytes(32, "big")) + sized(numbers.y.to_bytes(32, "big"))


def rsa_public(key, attributes, policy=b"", symmetric=(6, 128, 0x43), scheme=None):
    out = struct.pack(">HHI", 0x0001, SHA256, attributes) + sized(policy)
    out += struct.pack(">H", NULL) if symmetric == NULL else struct.pack(">HHH", *symmetric)
    out += struct.pack(">H", NULL) if scheme is None else struct.pack(">HH", *scheme)
    out += struct.pack(">HI", key.key_size, 0)
    return out + sized(key.public_key().public_numbers().n.to_bytes(key.key_size // 8, "big"))


def ecdsa_signature(key, message, alg=SHA256):
    der = key.sign(message, ec.ECDSA(hashes.SHA1() if alg == SHA1 else hashes.SHA256()))
    r, s = utils.decode_dss_signature(der)
    return struct.pack(">HH", ECDSA, alg) + sized(r.to_bytes(32, "big")) + sized(s.to_bytes(32, "big"))


def attest(signer, extra, banks, digest, magic=0xFF544347, kind=0x8018, clock=1000, reset=3, restart=1, safe=1,
           firmware=0x2019102300163636):
    """TPMS_ATTEST; `banks` is a list of (alg, bitmap)."""
    out = struct.pack(">IH", magic, kind) + sized(signer) + sized(extra)
    out += struct.pack(">QIIBQ", clock, reset, restart, safe, firmware) + struct.pack(">I", len(banks))
    for alg, bitmap in banks:
        out += struct.pack(">HB", alg, len(bitmap)) + bitmap
    return out + sized(digest)


class Machine:
    """One swtpm with an endorsement key (`ek.ctx`) and an attestation key (`ak.ctx`)."""

    def __init__(self, ek="rsa", ak=("ecc", "ecdsa")):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="tbtpm"))
        (self.folder / "state").mkdir()
        socket = self.folder / "sock"
        self.process = subprocess.Popen(
            ["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={self.folder}/state", "--server",
             f"type=unixio,path={socket}", "--ctrl", f"type=unixio,path={socket}.ctrl", "--flags",
             "not-need-init,startup-clear"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        atexit.register(self.process.kill)
        while not socket.exists():
            time.sleep(0.02)
        self.env = dict(os.environ, TPM2TOOLS_TCTI=f"swtpm:path={socket}")
        self.tool("tpm2_createek", "-c", "ek.ctx", "-G", ek, "-u", "ek.pub")
        self.tool("tpm2_createak", "-C", "ek.ctx", "-c", "ak.ctx", "-G", ak[0], "-g", "sha256", "-s", ak[1], "-u", "ak.pub")
        self.ek = self.read("ek.pub")[2:]
        self.ak = self.read("ak.pub")[2:]

    def tool(self, *arguments):
        subprocess.run(arguments, cwd=self.folder, env=self.env, check=True, stdout=subprocess.DEVNULL)
        subprocess.run(["tpm2_flushcontext", "-t"], cwd=self.folder, env=self.env, check=True, stdout=subprocess.DEVNULL)

    def read(self, name):
        return (self.folder / name).read_bytes()

    def extend(self, index, text):
        self.tool("tpm2_pcrextend", f"{index}:sha256={hashlib.sha256(text).hexdigest()}")

    def pcrs(self, indices):
        self.tool("tpm2_pcrread", "sha256:" + ",".join(map(str, indices)), "-o", "pcrs.bin")
        data = self.read("pcrs.bin")
        return {str(index): data[32 * i:32 * i + 32].hex() for i, index in enumerate(indices)}

    def quote(self, extra, selection, key="ak.ctx", scheme="rsassa"):
        named = ["--scheme", scheme] if scheme == "rsapss" else []
        self.tool("tpm2_quote", "-c", key, "-l", selection, "-q", extra.hex(), "-g", "sha256", "-m", "q.msg", "-s", "q.sig",
                  *named)
        return self.read("q.msg"), self.read("q.sig")

    def end(self):
        self.process.terminate()
        self.process.wait()
        subprocess.run(["rm", "-r", str(self.folder)], check=True)
