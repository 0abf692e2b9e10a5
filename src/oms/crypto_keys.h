// The keys that sign models: ECDSA on P-256, P-384 and P-521, each with its own hash, as the algorithm registry of OMS
// v1.0 has them; RSA and Ed25519 are not in it and are refused. Keys are PEM, as openssl and model_signing write them.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/secret.h"

struct evp_pkey_st;  // OpenSSL's EVP_PKEY

namespace tb::oms {

class PublicKey {
 public:
  /// Throws "oms_key_refused": no PEM public key, another kind, another curve, a point that is not on it.
  static PublicKey from_pem(std::string_view pem);

  /// SubjectPublicKeyInfo, as PEM with a final newline.
  std::string pem() const;
  Bytes der() const;
  /// Lower-case hex SHA-256 of pem(): what signers put into a bundle to say which key it was.
  std::string hint() const;
  /// `signature` is DER.
  bool verifies(ByteView message, ByteView signature) const;
  bool operator==(const PublicKey& other) const { return der() == other.der(); }

 private:
  friend class SigningKey;
  friend PublicKey trusted_leaf_key(const std::vector<Bytes>& chain, std::span<const Bytes> anchors, UnixMs now);
  friend PublicKey key_of_certificate(ByteView der);
  explicit PublicKey(std::shared_ptr<evp_pkey_st> key) : key_(std::move(key)) {}
  std::shared_ptr<evp_pkey_st> key_;
};

/// Move-only; OpenSSL wipes the scalar.
class SigningKey {
 public:
  /// P-256.
  static SigningKey generate();
  /// Throws "oms_key_refused"; also for one that a password protects.
  static SigningKey from_pem(const SecretString& pem);
  SigningKey(SigningKey&&) = default;
  SigningKey& operator=(SigningKey&&) = default;

  /// PKCS #8.
  SecretString pem() const;
  PublicKey public_key() const;
  /// DER.
  Bytes sign(ByteView message) const;

 private:
  explicit SigningKey(std::shared_ptr<evp_pkey_st> key) : key_(std::move(key)) {}
  std::shared_ptr<evp_pkey_st> key_;
};

/// The certificates of a PEM file as DER, in their order, at least one. Throws "oms_certificate_refused".
std::vector<Bytes> certificates_from_pem(std::string_view pem);

/// Nothing about the certificate is proven. Throws "oms_certificate_refused", "oms_key_refused".
PublicKey key_of_certificate(ByteView der);

/// The key of chain[0] once the chain leads to one of `anchors` (which may be an intermediate, or the leaf itself), is
/// in force at `now`, and the leaf is for digital signatures on code. Throws "oms_certificate_refused" saying why,
/// "oms_key_refused".
PublicKey trusted_leaf_key(const std::vector<Bytes>& chain, std::span<const Bytes> anchors, UnixMs now);

}  // namespace tb::oms
