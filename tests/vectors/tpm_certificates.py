"""Endorsement key certificates of a maker that exists only here: a root, an intermediate, good and bad leaves."""
import base64
import datetime
import hashlib
import struct

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NOW = 1800000000000  # ms
EK_USAGE = x509.ObjectIdentifier("2.23.133.8.1")


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def rsa_key_of(public):
    """The key in a TPMT_PUBLIC of the RSA 2048 template."""
    assert struct.unpack(">H", public[:2])[0] == 1
    return rsa.RSAPublicNumbers(65537, int.from_bytes(public[-256:], "big")).public_key()


def certificate(subject, key, issuer, issuer_key, ca=False, usage=EK_USAGE, start=-1000, end=3000):
    day = datetime.timedelta(days=1)
    now = datetime.datetime.utcfromtimestamp(NOW / 1000)
    builder = (x509.CertificateBuilder()
               .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
               .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
               .public_key(key).serial_number(x509.random_serial_number())
               .not_valid_before(now + start * day).not_valid_after(now + end * day)
               .add_extension(x509.BasicConstraints(ca, None), critical=True))
    if not ca:
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


def make(ek):
    root_key, middle_key, other_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
    leaf_key = rsa.generate_private_key(65537, 2048)
    key = rsa_key_of(ek)

    def der(c):
        return b64(c.public_bytes(serialization.Encoding.DER))
    root = certificate("Root", root_key.public_key(), "Root", root_key, ca=True)
    middle = certificate("Middle", middle_key.public_key(), "Root", root_key, ca=True)
    leaf = certificate("TPM", leaf_key.public_key(), "Root", root_key)
    spki = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return {
        "root": root.public_bytes(serialization.Encoding.PEM).decode(),
        "ek_sha256": hashlib.sha256(spki).hexdigest(),
        "intermediate": der(middle),
        "leaf": der(leaf),
        "good": der(certificate("TPM", key, "Root", root_key)),
        "below": der(certificate("TPM", key, "Middle", middle_key)),
        "none": "",
        "garbage": b64(b"not a certificate"),
        "other-key": der(leaf),
        "self-signed": der(certificate("Root", key, "Root", other_key)),
        "other-root": der(certificate("TPM", key, "Other", other_key)),
        "expired": der(certificate("TPM", key, "Root", root_key, end=-1)),
        "future": der(certificate("TPM", key, "Root", root_key, start=1)),
        "usage": der(certificate("TPM", key, "Root", root_key, usage=ExtendedKeyUsageOID.SERVER_AUTH)),
        "authority": der(certificate("TPM", key, "Root", root_key, ca=True)),
        "under-leaf": der(certificate("TPM", key, "TPM", leaf_key)),
    }
