// The TPM structures that a verifier reads, in the TPM's own big-endian marshalling (TCG TPM 2.0 Part 2,
// revision 1.59).
//
// They come from a machine that may be an attacker's, so reading is strict: exact lengths, known algorithms only,
// nothing after the end. What is read encodes to the same bytes again. Whether a structure may be believed is judged in
// quote.h and enrolment.h; a vendor's library is not needed for either.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"

namespace tb::attest {

// TPM_ALG_ID (Part 2, 6.3), as far as anything here knows them.
inline constexpr std::uint16_t kAlgRsa = 0x0001;
inline constexpr std::uint16_t kAlgSha1 = 0x0004;
inline constexpr std::uint16_t kAlgAes = 0x0006;
inline constexpr std::uint16_t kAlgSha256 = 0x000B;
inline constexpr std::uint16_t kAlgSha384 = 0x000C;
inline constexpr std::uint16_t kAlgSha512 = 0x000D;
inline constexpr std::uint16_t kAlgNull = 0x0010;
inline constexpr std::uint16_t kAlgRsaSsa = 0x0014;
inline constexpr std::uint16_t kAlgRsaPss = 0x0016;
inline constexpr std::uint16_t kAlgEcdsa = 0x0018;
inline constexpr std::uint16_t kAlgEcc = 0x0023;
inline constexpr std::uint16_t kAlgCfb = 0x0043;
inline constexpr std::uint16_t kCurveP256 = 0x0003;

inline constexpr std::uint32_t kQuoteMagic = 0xFF544347;  ///< TPM_GENERATED_VALUE
inline constexpr std::uint16_t kQuoteType = 0x8018;       ///< TPM_ST_ATTEST_QUOTE

// TPMA_OBJECT (Part 2, 8.3).
inline constexpr std::uint32_t kFixedTpm = 1U << 1;
inline constexpr std::uint32_t kFixedParent = 1U << 4;
inline constexpr std::uint32_t kSensitiveDataOrigin = 1U << 5;
inline constexpr std::uint32_t kUserWithAuth = 1U << 6;
inline constexpr std::uint32_t kRestricted = 1U << 16;
inline constexpr std::uint32_t kDecrypt = 1U << 17;
inline constexpr std::uint32_t kSign = 1U << 18;

/// Bytes of a digest; 0 for SHA-1 and what is not known.
std::size_t digest_bytes(std::uint16_t alg);
/// "sha256"; "" for what is not used.
std::string_view bank_name(std::uint16_t alg);

/// TPMS_PCR_SELECTION.
struct PcrBank {
  std::uint16_t alg = 0;
  Bytes bitmap;  ///< bit i of byte n is PCR 8n+i
  bool selects(unsigned index) const;
};

/// TPMS_ATTEST of a quote. Where `type` is another, only what stands before the attested part was read.
struct Quote {
  std::uint32_t magic = 0;
  std::uint16_t type = 0;
  Bytes qualified_signer;
  Bytes extra_data;
  std::uint64_t clock_ms = 0;
  std::uint32_t reset_count = 0;
  std::uint32_t restart_count = 0;
  bool safe = false;
  std::uint64_t firmware_version = 0;
  std::vector<PcrBank> selection;
  Bytes pcr_digest;
  bool selects(std::uint16_t alg, unsigned index) const;
};

/// TPMT_PUBLIC of an RSA or ECC key.
struct Public {
  std::uint16_t type = 0;
  std::uint16_t name_alg = 0;
  std::uint32_t attributes = 0;
  Bytes auth_policy;
  std::uint16_t symmetric = kAlgNull;
  std::uint16_t symmetric_bits = 0;  ///< where symmetric is not null
  std::uint16_t symmetric_mode = 0;
  std::uint16_t scheme = kAlgNull;
  std::uint16_t scheme_hash = 0;  ///< where scheme is not null
  std::uint16_t rsa_bits = 0;
  std::uint32_t rsa_exponent = 0;  ///< 0 means 65537
  std::uint16_t curve = 0;
  Bytes modulus;  ///< RSA
  Bytes x, y;     ///< ECC
};

/// TPMT_SIGNATURE: RSASSA, RSAPSS or ECDSA.
struct Signature {
  std::uint16_t scheme = 0;
  std::uint16_t hash = 0;
  Bytes rsa;
  Bytes r, s;
};

// Each throws nothing; "tpm_malformed" names what does not fit.
Result<Quote> parse_quote(ByteView bytes);
Result<Public> parse_public(ByteView bytes);
Result<Signature> parse_signature(ByteView bytes);

/// Exactly the bytes that parse_* read.
Bytes encode(const Quote& quote);
Bytes encode(const Public& key);
Bytes encode(const Signature& signature);

/// Big-endian integers and TPM2B, appended.
class Writer {
 public:
  Writer& u8(std::uint8_t v);
  Writer& u16(std::uint16_t v);
  Writer& u32(std::uint32_t v);
  Writer& u64(std::uint64_t v);
  Writer& raw(ByteView bytes);
  /// u16 length, then the bytes: a TPM2B.
  Writer& sized(ByteView bytes);
  Bytes take() { return std::move(out_); }

 private:
  Bytes out_;
};

}  // namespace tb::attest
