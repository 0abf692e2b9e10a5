"""A CA with a server and clients of all kinds, made by openssl for one test."""
import os
import shutil
import subprocess
import tempfile


class TlsFiles:
    """Each pair is (certificate, key); `ca` is a certificate."""

    def __init__(self):
        self.work = tempfile.mkdtemp(prefix="tb-tls-")
        self.ca, self.ca_key = self.make_ca("ca")
        foreign_ca = self.make_ca("foreign-ca")
        self.server = self.issue("server", "subjectAltName=DNS:model.example", "serverAuth")
        self.batch = self.issue("ignored-cn", "subjectAltName=URI:spiffe://acme/batch")
        self.by_cn = self.issue("named-by-cn")
        self.other = self.issue("other", "subjectAltName=DNS:other.example")
        self.cn_hidden_by_san = self.issue("named-by-cn", "subjectAltName=DNS:somebody.example", name="hidden")
        self.expired = self.issue("named-by-cn", name="expired", days="-1")
        self.foreign = self.issue("named-by-cn", name="foreign", ca=foreign_ca)

    def path(self, name):
        return os.path.join(self.work, name)

    def openssl(self, *arguments):
        subprocess.run(["openssl", *arguments], check=True, capture_output=True)

    def key(self, name):
        path = self.path(name + ".key")
        self.openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", path)
        os.chmod(path, 0o600)
        return path

    def make_ca(self, name):
        key, certificate = self.key(name), self.path(name + ".pem")
        self.openssl("req", "-x509", "-new", "-key", key, "-subj", f"/CN={name}", "-days", "2", "-out", certificate)
        return certificate, key

    def issue(self, common_name, extension="", usage="clientAuth", name=None, days="2", ca=None):
        name = name or common_name
        ca_certificate, ca_key = ca or (self.ca, self.ca_key)
        key, request, certificate, extensions = (self.key(name), *(self.path(name + end) for end in (".csr", ".pem", ".ext")))
        with open(extensions, "w", encoding="ascii") as file:
            file.write(f"basicConstraints=CA:FALSE\nextendedKeyUsage={usage}\n{extension}\n")
        self.openssl("req", "-new", "-key", key, "-subj", f"/CN={common_name}", "-out", request)
        self.openssl("x509", "-req", "-in", request, "-CA", ca_certificate, "-CAkey", ca_key, "-CAcreateserial", "-days", days,
                     "-extfile", extensions, "-out", certificate)
        return certificate, key

    def close(self):
        shutil.rmtree(self.work, ignore_errors=True)
