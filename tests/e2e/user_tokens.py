"""An issuer of users' tokens: a key set in a file, and tokens signed by it or by somebody else."""
import base64
import json
import os
import time

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Issuer:
    NAME, AUDIENCE, SCOPE = "https://issuer.example", "models", "infer"

    def __init__(self, directory):
        self.key, self.other = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        numbers = self.key.public_key().public_numbers()
        jwk = {"kty": "EC", "crv": "P-256", "kid": "one", "use": "sig", "alg": "ES256",
               "x": base64url(numbers.x.to_bytes(32, "big")), "y": base64url(numbers.y.to_bytes(32, "big"))}
        self.path = directory + "/issuer.json"
        with open(self.path + ".new", "w", encoding="ascii") as file:
            json.dump({"keys": [jwk]}, file)
        os.rename(self.path + ".new", self.path)

    def settings(self):
        return {"TB_JWT_KEYS": self.path, "TB_JWT_ISSUER": self.NAME, "TB_JWT_AUDIENCE": self.AUDIENCE, "TB_JWT_SCOPE": self.SCOPE}

    def token(self, subject="user", issuer=NAME, audience=AUDIENCE, key=None, seconds=300):
        header = {"alg": "ES256", "typ": "JWT", "kid": "one"}
        claims = {"iss": issuer, "aud": audience, "sub": subject, "scope": "openid " + self.SCOPE,
                  "exp": int(time.time()) + seconds}
        text = ".".join(base64url(json.dumps(part).encode()) for part in (header, claims))
        r, s = decode_dss_signature((key or self.key).sign(text.encode(), ec.ECDSA(hashes.SHA256())))
        return text + "." + base64url(r.to_bytes(32, "big") + s.to_bytes(32, "big"))

    def forged_token(self):
        return self.token(subject="admin", key=self.other)
