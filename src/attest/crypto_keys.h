// What TPM keys need of OpenSSL: a public key in its usual form, signatures under it, digests, and the encryption that
// makes a credential only one TPM can open.
#pragma once

#include <string>

#include "attest/tpm_wire.h"
#include "base/secret.h"

namespace tb::attest {

/// SHA-256, SHA-384 or SHA-512 by TPM_ALG_ID; others end the process (callers ask digest_bytes first).
Bytes digest(std::uint16_t alg, ByteView bytes);

/// The key's Name (Part 1, 16): nameAlg, then the digest of its TPMT_PUBLIC.
Bytes name_of(const Public& key);

/// The key as DER SubjectPublicKeyInfo (RFC 5280). "tpm_malformed" for a modulus of another length than rsa_bits, fewer
/// than 2048 bits, a curve other than P-256, or a point that is not on it.
Result<Bytes> spki_of(const Public& key);
/// Lower-hex SHA-256 of spki_of: how a contract names an endorsement key.
Result<std::string> key_sha256(const Public& key);

/// True if `signature` is the key's own over `message`. RSASSA and RSAPSS (salt of any length), ECDSA; SHA-256 or
/// better.
bool verify_signature(const Public& key, const Signature& signature, ByteView message);

/// TPM2_MakeCredential in software (Part 1, 24; Part 3, 12.6): only the TPM that holds `ek` gets `secret` out, and only
/// while it also holds the key of this Name.
struct Credential {
  Bytes id_object;         ///< TPMS_ID_OBJECT
  Bytes encrypted_secret;  ///< content of TPM2B_ENCRYPTED_SECRET
};
Result<Credential> make_credential(const Public& ek, ByteView ak_name, const Secret<32>& secret);

}  // namespace tb::attest
