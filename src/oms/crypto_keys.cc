#include "oms/crypto_keys.h"

#include <fmt/format.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <array>
#include <climits>
#include <cstdlib>

#include "base/crypto.h"

namespace tb::oms {
namespace {

template <auto Free>
struct Freer {
  template <typename T>
  void operator()(T* p) const {
    Free(p);
  }
};
using Bio = std::unique_ptr<BIO, Freer<BIO_free_all>>;
using Certificate = std::unique_ptr<X509, Freer<X509_free>>;
using Key = std::shared_ptr<EVP_PKEY>;
using DigestContext = std::unique_ptr<EVP_MD_CTX, Freer<EVP_MD_CTX_free>>;
using KeyContext = std::unique_ptr<EVP_PKEY_CTX, Freer<EVP_PKEY_CTX_free>>;
using TrustStore = std::unique_ptr<X509_STORE, Freer<X509_STORE_free>>;
using Verification = std::unique_ptr<X509_STORE_CTX, Freer<X509_STORE_CTX_free>>;
using Untrusted = std::unique_ptr<STACK_OF(X509), decltype([](STACK_OF(X509) * s) { sk_X509_free(s); })>;

constexpr std::size_t kMaxPemBytes = std::size_t{1} << 20;

/// OpenSSL's queue is the thread's: what is left there would be read as the fault of the next TLS connection.
struct CleanErrors {
  CleanErrors() = default;
  CleanErrors(const CleanErrors&) = delete;
  CleanErrors& operator=(const CleanErrors&) = delete;
  ~CleanErrors() { ERR_clear_error(); }
};

void require(bool ok) {
  if (!ok) std::abort();
}

Key owned(EVP_PKEY* key) {
  return Key(key, [](EVP_PKEY* k) { EVP_PKEY_free(k); });
}

Bio memory_bio(std::string_view text) {
  return Bio(BIO_new_mem_buf(text.data(), static_cast<int>(std::min(text.size(), kMaxPemBytes))));
}

std::string_view text_of(const Bio& bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &data);
  return {data, static_cast<std::size_t>(size)};
}

std::string_view curve_of(const EVP_PKEY* key) {
  static constexpr std::array<std::string_view, 3> kCurves = {"prime256v1", "secp384r1", "secp521r1"};
  char name[64] = {};
  std::size_t length = 0;
  if (EVP_PKEY_is_a(key, "EC") != 1 || EVP_PKEY_get_group_name(key, name, sizeof name, &length) != 1) return {};
  const auto found = std::ranges::find(kCurves, std::string_view(name, length));
  return found == kCurves.end() ? std::string_view() : *found;
}

/// Each curve has its hash (Sigstore's algorithm registry).
const EVP_MD* hash_of(const EVP_PKEY* key) {
  const std::string_view curve = curve_of(key);
  if (curve == "prime256v1") return EVP_sha256();
  return curve == "secp384r1" ? EVP_sha384() : EVP_sha512();
}

Key checked(Key key, std::string_view what) {
  if (!key) throw Error("oms_key_refused", fmt::format("{} cannot be read", what));
  if (curve_of(key.get()).empty()) {
    throw Error("oms_key_refused", fmt::format("{} is not of a kind that model signing knows", what));
  }
  const KeyContext context(EVP_PKEY_CTX_new(key.get(), nullptr));
  if (!context || EVP_PKEY_public_check(context.get()) != 1) {
    throw Error("oms_key_refused", fmt::format("{} is not a point on its curve", what));
  }
  return key;
}

/// No password: one that is asked for is a refusal, never a question at the terminal.
int no_password(char*, int, int, void*) {
  return -1;
}

Certificate certificate_of(ByteView der) {
  const unsigned char* at = der.data();
  Certificate certificate(d2i_X509(nullptr, &at, static_cast<long>(std::min<std::size_t>(der.size(), LONG_MAX))));
  if (!certificate || at != der.data() + der.size()) {
    throw Error("oms_certificate_refused", "a certificate cannot be read");
  }
  return certificate;
}

Bytes der_of(X509* certificate) {
  Bytes der(static_cast<std::size_t>(std::max(0, i2d_X509(certificate, nullptr))));
  unsigned char* at = der.data();
  require(i2d_X509(certificate, &at) > 0);
  return der;
}

void require_for_signing(X509* leaf) {
  const bool digital = (X509_get_key_usage(leaf) & KU_DIGITAL_SIGNATURE) != 0;
  const bool code = (X509_get_extension_flags(leaf) & EXFLAG_XKUSAGE) != 0 &&
                    (X509_get_extended_key_usage(leaf) & XKU_CODE_SIGN) != 0;
  if (!digital || !code) {
    throw Error("oms_certificate_refused", "the signer's certificate is not for signing code");
  }
}

}  // namespace

PublicKey PublicKey::from_pem(std::string_view pem) {
  const CleanErrors clean;
  const Bio bio = memory_bio(pem);
  return PublicKey(checked(owned(PEM_read_bio_PUBKEY(bio.get(), nullptr, no_password, nullptr)), "the public key"));
}

std::string PublicKey::pem() const {
  const Bio bio(BIO_new(BIO_s_mem()));
  require(PEM_write_bio_PUBKEY(bio.get(), key_.get()) == 1);
  return std::string(text_of(bio));
}

Bytes PublicKey::der() const {
  Bytes der(static_cast<std::size_t>(std::max(0, i2d_PUBKEY(key_.get(), nullptr))));
  unsigned char* at = der.data();
  require(i2d_PUBKEY(key_.get(), &at) > 0);
  return der;
}

std::string PublicKey::hint() const {
  return sha256_hex(pem());
}

bool PublicKey::verifies(ByteView message, ByteView signature) const {
  const CleanErrors clean;
  const DigestContext context(EVP_MD_CTX_new());
  require(context != nullptr);
  return EVP_DigestVerifyInit(context.get(), nullptr, hash_of(key_.get()), nullptr, key_.get()) == 1 &&
         EVP_DigestVerify(context.get(), signature.data(), signature.size(), message.data(), message.size()) == 1;
}

SigningKey SigningKey::generate() {
  EVP_PKEY* key = EVP_EC_gen("P-256");
  require(key != nullptr);
  return SigningKey(owned(key));
}

SigningKey SigningKey::from_pem(const SecretString& pem) {
  const CleanErrors clean;
  const Bio bio = memory_bio(pem.reveal());
  return SigningKey(
      checked(owned(PEM_read_bio_PrivateKey(bio.get(), nullptr, no_password, nullptr)), "the signing key"));
}

SecretString SigningKey::pem() const {
  const Bio bio(BIO_new(BIO_s_secmem()));
  require(PEM_write_bio_PKCS8PrivateKey(bio.get(), key_.get(), nullptr, nullptr, 0, nullptr, nullptr) == 1);
  return SecretString(std::string(text_of(bio)));
}

PublicKey SigningKey::public_key() const {
  Bytes der(static_cast<std::size_t>(std::max(0, i2d_PUBKEY(key_.get(), nullptr))));
  unsigned char* at = der.data();
  require(i2d_PUBKEY(key_.get(), &at) > 0);
  const unsigned char* from = der.data();
  return PublicKey(owned(d2i_PUBKEY(nullptr, &from, static_cast<long>(der.size()))));
}

Bytes SigningKey::sign(ByteView message) const {
  const DigestContext context(EVP_MD_CTX_new());
  std::size_t size = 0;
  require(context != nullptr &&
          EVP_DigestSignInit(context.get(), nullptr, hash_of(key_.get()), nullptr, key_.get()) == 1 &&
          EVP_DigestSign(context.get(), nullptr, &size, message.data(), message.size()) == 1);
  Bytes signature(size);
  require(EVP_DigestSign(context.get(), signature.data(), &size, message.data(), message.size()) == 1);
  signature.resize(size);
  return signature;
}

std::vector<Bytes> certificates_from_pem(std::string_view pem) {
  const CleanErrors clean;
  const Bio bio = memory_bio(pem);
  std::vector<Bytes> found;
  while (const Certificate next{PEM_read_bio_X509(bio.get(), nullptr, no_password, nullptr)}) {
    found.push_back(der_of(next.get()));
  }
  if (found.empty() || ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE) {
    throw Error("oms_certificate_refused", "the certificates cannot be read as PEM");
  }
  return found;
}

PublicKey key_of_certificate(ByteView der) {
  const CleanErrors clean;
  const Certificate certificate = certificate_of(der);
  return PublicKey(checked(owned(X509_get_pubkey(certificate.get())), "the certificate's key"));
}

PublicKey trusted_leaf_key(const std::vector<Bytes>& chain, std::span<const Bytes> anchors, UnixMs now) {
  const CleanErrors clean;
  if (chain.empty()) throw Error("oms_certificate_refused", "there is no certificate");
  std::vector<Certificate> others;
  const Untrusted untrusted(sk_X509_new_null());
  const TrustStore store(X509_STORE_new());
  require(untrusted != nullptr && store != nullptr);
  for (const Bytes& der : std::span(chain).subspan(1)) {
    others.push_back(certificate_of(der));
    require(sk_X509_push(untrusted.get(), others.back().get()) > 0);
  }
  for (const Bytes& der : anchors) require(X509_STORE_add_cert(store.get(), certificate_of(der).get()) == 1);
  const Certificate leaf = certificate_of(chain.front());
  const Verification verification(X509_STORE_CTX_new());
  require(verification != nullptr &&
          X509_STORE_CTX_init(verification.get(), store.get(), leaf.get(), untrusted.get()) == 1);
  X509_VERIFY_PARAM* rules = X509_STORE_CTX_get0_param(verification.get());
  X509_VERIFY_PARAM_set_time(rules, static_cast<time_t>(now / 1000));
  X509_VERIFY_PARAM_set_flags(rules, X509_V_FLAG_PARTIAL_CHAIN | X509_V_FLAG_X509_STRICT);
  X509_VERIFY_PARAM_set_auth_level(rules, 2);
  if (X509_verify_cert(verification.get()) != 1) {
    throw Error("oms_certificate_refused",
                fmt::format("the signer's certificate: {}",
                            X509_verify_cert_error_string(X509_STORE_CTX_get_error(verification.get()))));
  }
  require_for_signing(leaf.get());
  return PublicKey(checked(owned(X509_get_pubkey(leaf.get())), "the certificate's key"));
}

}  // namespace tb::oms
