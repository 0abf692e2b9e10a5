"""AMD's side of SEV-SNP, played by this script: roots, intermediates, VCEK and VLEK certificates with AMD's extensions,
revocation lists, and signed reports (AMD 56860, 57230).

Keys are made when the vectors are, and forgotten: no private key is in the tree. The X.509 builder of Debian 12 cannot
sign with RSA-PSS, so what it gives is taken apart, its algorithm replaced, and signed here.
"""
import base64
import datetime
import hashlib
import struct

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

UTC = datetime.timezone.utc
NOW = datetime.datetime(2026, 6, 1, 12, 0, 0, tzinfo=UTC)
DAY = datetime.timedelta(days=1)
OID = "1.3.6.1.4.1.3704.1."
SHA384_RSA = bytes.fromhex("300d06092a864886f70d01010c0500")


def der(tag, *parts):
    body = b"".join(parts)
    size = len(body)
    head = bytes([size]) if size < 128 else (lambda b: bytes([0x80 | len(b)]) + b)(size.to_bytes((size.bit_length() + 7) // 8, "big"))
    return bytes([tag]) + head + body


def unwrap(data):
    """The content of one DER value."""
    skip = 2 if data[1] < 0x80 else 2 + (data[1] & 0x7F)
    return data[skip:]


def pss_algorithm(hash_oid, salt):
    digest = der(0x30, bytes.fromhex(hash_oid))
    mgf = der(0x30, bytes.fromhex("06092a864886f70d010108"), digest)
    return der(0x30, bytes.fromhex("06092a864886f70d01010a"),
               der(0x30, der(0xA0, digest), der(0xA1, mgf), der(0xA2, der(0x02, bytes([salt])))))


PSS_SHA384 = pss_algorithm("0609608648016503040202", 48)
PSS_SHA256 = pss_algorithm("0609608648016503040201", 32)


def resign(tbs, key, algorithm=PSS_SHA384, digest=None, salt=48):
    """A certificate or revocation list whose builder signed by RSA with SHA-384, signed by RSA-PSS instead."""
    body = unwrap(tbs)
    assert body.count(SHA384_RSA) == 1
    tbs = der(0x30, body.replace(SHA384_RSA, algorithm))
    digest = digest or hashes.SHA384()
    signature = key.sign(tbs, padding.PSS(padding.MGF1(digest), salt), digest)
    return der(0x30, tbs, algorithm, der(0x03, b"\0" + signature))


def name(common):
    return x509.Name([x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "Advanced Micro Devices"),
                      x509.NameAttribute(x509.NameOID.COMMON_NAME, common)])


def builder(subject, public_key, issuer, serial, start, end):
    return (x509.CertificateBuilder().subject_name(name(subject)).issuer_name(name(issuer)).public_key(public_key)
            .serial_number(serial).not_valid_before(start).not_valid_after(end))


class Authority:
    """A root (ARK) or, with a parent, an intermediate (ASK, ASVK)."""

    def __init__(self, common, parent=None, bits=4096, serial=0x10000, start=NOW - 2000 * DAY, end=NOW + 7000 * DAY,
                 key=None):
        self.common, self.serial = common, serial
        self.key = key or rsa.generate_private_key(65537, bits)
        issuer = parent or self
        made = builder(common, self.key.public_key(), issuer.common, serial, start, end).add_extension(
            x509.BasicConstraints(True, None if parent is None else 0), True)
        self.der = resign(made.sign(issuer.key, hashes.SHA384()).tbs_certificate_bytes, issuer.key)

    def revokes(self, serials, start=NOW - DAY, end=NOW + 30 * DAY, key=None):
        made = x509.CertificateRevocationListBuilder().issuer_name(name(self.common)).last_update(start).next_update(end)
        for serial in serials:
            made = made.add_revoked_certificate(
                x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(start).build())
        key = key or self.key
        return resign(made.sign(key, hashes.SHA384()).tbs_certlist_bytes, key)


def integer(value):
    return der(0x02, value.to_bytes(value.bit_length() // 8 + 1, "big"))


class Leaf:
    """A VCEK (with a hardware id) or a VLEK (without one). `tcb` has bootloader, tee, snp, microcode, fmc."""

    def __init__(self, authority, product, tcb, hw_id=None, common=None, curve=None, drop=(), start=NOW - 100 * DAY,
                 end=NOW + 2000 * DAY, pkcs1=False, sha256=False, hw_id_octets=False):
        self.key = ec.generate_private_key(curve or ec.SECP384R1())
        common = common or ("SEV-VCEK" if hw_id else "SEV-VLEK")
        made = builder(common, self.key.public_key(), authority.common, 1, start, end)
        values = {"1": integer(0), "2": der(0x16, product.encode()), "3.1": integer(tcb["bootloader"]),
                  "3.2": integer(tcb["tee"]), "3.3": integer(tcb["snp"]), "3.8": integer(tcb["microcode"])}
        if "fmc" in tcb:
            values["3.9"] = integer(tcb["fmc"])
        if hw_id:
            values["4"] = der(0x04, hw_id) if hw_id_octets else hw_id
        else:
            values["5"] = der(0x16, b"a cloud")
        for suffix, value in values.items():
            if suffix not in drop:
                made = made.add_extension(x509.UnrecognizedExtension(x509.ObjectIdentifier(OID + suffix), value), False)
        signed = made.sign(authority.key, hashes.SHA384())
        if pkcs1:
            self.der = signed.public_bytes(serialization.Encoding.DER)
        elif sha256:
            self.der = resign(signed.tbs_certificate_bytes, authority.key, PSS_SHA256, hashes.SHA256(), 32)
        else:
            self.der = resign(signed.tbs_certificate_bytes, authority.key)


def tcb_bytes(product, tcb):
    t = tcb
    if product == "Turin":
        return bytes([t["fmc"], t["bootloader"], t["tee"], t["snp"], 0, 0, 0, t["microcode"]])
    return bytes([t["bootloader"], t["tee"], 0, 0, 0, 0, t["snp"], t["microcode"]])


def evidence_digest(binding):
    sha = hashlib.sha256(b"trustbridge/evidence/v1")
    for member in ("nonce", "thumbprint", "contract_id", "asset_id", "lease_id", "config_sha256"):
        text = binding[member].encode()
        sha.update(struct.pack(">I", len(text)) + text)
    return sha.digest()


CPU = {"Milan": (0x19, 0x01, 1), "Genoa": (0x19, 0x11, 1), "Turin": (0x1A, 0x02, 1)}


def report(product, tcb, report_data, chip_id, **f):
    """The signed part of a report: fields by name, the rest as a good machine has it."""
    version = f.get("version", 2)
    b = bytearray(0x2A0)
    struct.pack_into("<IIQ", b, 0, version, f.get("guest_svn", 3), f.get("policy", 1 << 17 | 0x1F))
    struct.pack_into("<II", b, 0x30, f.get("vmpl", 0), f.get("algorithm", 1))
    b[0x38:0x40] = tcb_bytes(product, tcb)
    struct.pack_into("<Q", b, 0x40, f.get("platform_info", 0x25))
    struct.pack_into("<I", b, 0x48, f.get("signer_info", 0))
    b[0x50:0x90] = report_data.ljust(64, b"\0")
    b[0x90:0xC0] = f.get("measurement", b"\xa1" * 48)
    b[0xC0:0xE0] = f.get("host_data", b"\xb2" * 32)
    b[0xE0:0x110] = f.get("id_key_digest", b"\xc3" * 48)
    b[0x110:0x140] = f.get("author_key_digest", b"\0" * 48)
    b[0x140:0x160] = b"\x77" * 32
    b[0x160:0x180] = b"\xff" * 32
    b[0x180:0x188] = f.get("reported", tcb_bytes(product, tcb))
    if version >= 3:
        b[0x188:0x18B] = bytes(f.get("cpu", CPU[product]))
    b[0x1A0:0x1E0] = chip_id.ljust(64, b"\0")
    b[0x1E0:0x1E8] = tcb_bytes(product, tcb)
    b[0x1E8:0x1EB] = b[0x1EC:0x1EF] = bytes([29, 55, 1])
    b[0x1F0:0x1F8] = f.get("launch", tcb_bytes(product, tcb))
    if version >= 5:
        b[0x1F8:0x208] = struct.pack("<QQ", 7, 7)
    for offset, value in f.get("patch", {}).items():
        b[offset:offset + len(value)] = value
    return bytes(b)


def sign_report(head, key, big_endian=False):
    order = "big" if big_endian else "little"
    r, s = decode_dss_signature(key.sign(head, ec.ECDSA(hashes.SHA384())))
    return head + r.to_bytes(72, order) + s.to_bytes(72, order) + bytes(0x170)


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
