#include "attest/ek_chain.h"

#include <openssl/err.h>
#include <openssl/objects.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

#include <algorithm>

#include "attest/openssl_free.h"

namespace tb::attest {
namespace {

constexpr const char* kEkUsage = "2.23.133.8.1";  // tcg-kp-EKCertificate
constexpr int kSecurityLevel = 2;                 // 112 bits: RSA 2048, SHA-256

void free_stack(STACK_OF(X509) * stack) {
  sk_X509_pop_free(stack, X509_free);
}

using Certificate = std::unique_ptr<X509, Freer<X509_free>>;
using Certificates = std::unique_ptr<STACK_OF(X509), Freer<free_stack>>;

std::unexpected<Error> refuse(std::string why) {
  ERR_clear_error();
  return fail("tpm_malformed", std::move(why));
}

/// Trailing bytes are ignored: certificates in a TPM's NV are often padded.
Certificate from_der(ByteView der) {
  const unsigned char* at = der.data();
  return Certificate(d2i_X509(nullptr, &at, static_cast<long>(der.size())));
}

Certificate from_pem(const std::string& pem) {
  const Bio in(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  return Certificate(PEM_read_bio_X509(in.get(), nullptr, nullptr, nullptr));
}

Bytes spki_in(const X509* certificate) {
  unsigned char* der = nullptr;
  const int bytes = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &der);
  Bytes out(der, der + std::max(bytes, 0));
  OPENSSL_free(der);
  return out;
}

/// Certificates of old TPMs have no extended key usage; one that has must name this.
bool usage_fits(const X509* certificate) {
  const std::unique_ptr<EXTENDED_KEY_USAGE, Freer<EXTENDED_KEY_USAGE_free>> usages(
      static_cast<EXTENDED_KEY_USAGE*>(X509_get_ext_d2i(certificate, NID_ext_key_usage, nullptr, nullptr)));
  if (!usages) return X509_get_ext_by_NID(certificate, NID_ext_key_usage, -1) < 0;
  const ObjectId wanted(OBJ_txt2obj(kEkUsage, 1));
  for (int i = 0; i < sk_ASN1_OBJECT_num(usages.get()); ++i) {
    if (OBJ_cmp(sk_ASN1_OBJECT_value(usages.get(), i), wanted.get()) == 0) return true;
  }
  return false;
}

}  // namespace

Result<> check_ek_chain(const EkChain& chain, ByteView ek_spki) {
  if (chain.leaf.empty()) return refuse("the TPM sent no endorsement key certificate");
  const Certificate leaf = from_der(chain.leaf);
  if (!leaf) return refuse("the endorsement key certificate cannot be read");
  if (!std::ranges::equal(spki_in(leaf.get()), ek_spki)) return refuse("the certificate is of another key");
  if (X509_check_ca(leaf.get()) == 1) return refuse("the certificate is that of an authority");
  if (!usage_fits(leaf.get())) return refuse("the certificate is not one for endorsement keys");
  const Certificates others(sk_X509_new_null());
  for (const Bytes& der : chain.intermediates) {
    Certificate certificate = from_der(der);
    if (!certificate) return refuse("an intermediate certificate cannot be read");
    sk_X509_push(others.get(), certificate.release());
  }
  const TrustStore roots(X509_STORE_new());
  for (const std::string& pem : chain.roots_pem) {
    const Certificate root = from_pem(pem);
    if (!root) return refuse("a pinned root cannot be read");
    X509_STORE_add_cert(roots.get(), root.get());
  }
  const Verification verification(X509_STORE_CTX_new());
  if (!verification || X509_STORE_CTX_init(verification.get(), roots.get(), leaf.get(), others.get()) != 1) {
    return refuse("the chain cannot be verified");
  }
  X509_VERIFY_PARAM* param = X509_STORE_CTX_get0_param(verification.get());
  X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_PARTIAL_CHAIN);
  X509_VERIFY_PARAM_set_auth_level(param, kSecurityLevel);
  X509_VERIFY_PARAM_set_time(param, chain.now / 1000);
  if (X509_verify_cert(verification.get()) != 1) {
    return refuse(std::string("the certificate does not verify: ") +
                  X509_verify_cert_error_string(X509_STORE_CTX_get_error(verification.get())));
  }
  return {};
}

}  // namespace tb::attest
