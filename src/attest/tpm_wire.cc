#include "attest/tpm_wire.h"

#include <algorithm>

namespace tb::attest {
namespace {

constexpr std::uint32_t kMaxBanks = 16;
constexpr std::size_t kMaxBitmapBytes = 4;
constexpr std::size_t kMaxSizedBytes = 1024;

std::unexpected<Error> malformed(std::string_view what) {
  return fail("tpm_malformed", std::string(what));
}

/// Reads from the front; after the first fault everything reads as zero and `ok` stays false.
class Cursor {
 public:
  explicit Cursor(ByteView bytes) : rest_(bytes) {}

  std::uint64_t number(std::size_t bytes) {
    std::uint64_t value = 0;
    for (const std::uint8_t byte : take(bytes)) value = value << 8 | byte;
    return value;
  }
  std::uint8_t u8() { return static_cast<std::uint8_t>(number(1)); }
  std::uint16_t u16() { return static_cast<std::uint16_t>(number(2)); }
  std::uint32_t u32() { return static_cast<std::uint32_t>(number(4)); }
  std::uint64_t u64() { return number(8); }
  Bytes sized() {
    const std::size_t bytes = u16();
    if (bytes > kMaxSizedBytes) ok_ = false;
    return raw(bytes);
  }
  Bytes raw(std::size_t bytes) {
    const ByteView view = take(bytes);
    return {view.begin(), view.end()};
  }
  bool ok() const { return ok_; }
  bool at_end() const { return ok_ && rest_.empty(); }

 private:
  ByteView take(std::size_t bytes) {
    if (!ok_ || bytes > rest_.size()) {
      ok_ = false;
      return {};
    }
    const ByteView taken = rest_.first(bytes);
    rest_ = rest_.subspan(bytes);
    return taken;
  }

  ByteView rest_;
  bool ok_ = true;
};

bool known_hash(std::uint16_t alg) {
  return alg == kAlgSha1 || digest_bytes(alg) != 0;
}

bool read_banks(Cursor& in, std::vector<PcrBank>& out) {
  const std::uint32_t count = in.u32();
  if (count > kMaxBanks) return false;
  for (std::uint32_t i = 0; i < count && in.ok(); ++i) {
    PcrBank bank;
    bank.alg = in.u16();
    const std::size_t bytes = in.u8();
    if (bytes == 0 || bytes > kMaxBitmapBytes) return false;
    bank.bitmap = in.raw(bytes);
    // A bank twice would make the order of the digest a matter of taste.
    if (std::ranges::find(out, bank.alg, &PcrBank::alg) != out.end()) return false;
    out.push_back(std::move(bank));
  }
  return in.ok();
}

bool read_scheme(Cursor& in, Public& out, std::initializer_list<std::uint16_t> known) {
  out.scheme = in.u16();
  if (out.scheme == kAlgNull) return in.ok();
  if (std::ranges::find(known, out.scheme) == known.end()) return false;
  out.scheme_hash = in.u16();
  return known_hash(out.scheme_hash);
}

void write_scheme(Writer& out, const Public& key) {
  out.u16(key.scheme);
  if (key.scheme != kAlgNull) out.u16(key.scheme_hash);
}

}  // namespace

std::size_t digest_bytes(std::uint16_t alg) {
  switch (alg) {
    case kAlgSha256:
      return 32;
    case kAlgSha384:
      return 48;
    case kAlgSha512:
      return 64;
    default:
      return 0;
  }
}

std::string_view bank_name(std::uint16_t alg) {
  switch (alg) {
    case kAlgSha256:
      return "sha256";
    case kAlgSha384:
      return "sha384";
    case kAlgSha512:
      return "sha512";
    default:
      return "";
  }
}

bool PcrBank::selects(unsigned index) const {
  return index / 8 < bitmap.size() && (bitmap[index / 8] >> (index % 8) & 1) != 0;
}

bool Quote::selects(std::uint16_t alg, unsigned index) const {
  return std::ranges::any_of(selection, [&](const PcrBank& bank) { return bank.alg == alg && bank.selects(index); });
}

Result<Quote> parse_quote(ByteView bytes) {
  Cursor in(bytes);
  Quote out;
  out.magic = in.u32();
  out.type = in.u16();
  if (!in.ok()) return malformed("the quote is too short");
  if (out.magic != kQuoteMagic || out.type != kQuoteType) return out;
  out.qualified_signer = in.sized();
  out.extra_data = in.sized();
  out.clock_ms = in.u64();
  out.reset_count = in.u32();
  out.restart_count = in.u32();
  const std::uint8_t safe = in.u8();
  out.safe = safe == 1;
  out.firmware_version = in.u64();
  if (!in.ok() || safe > 1) return malformed("the quote's signer or clock is malformed");
  if (!read_banks(in, out.selection)) return malformed("the quote's PCR selection is malformed");
  out.pcr_digest = in.sized();
  if (!in.at_end()) return malformed("the quote does not end with its PCR digest");
  return out;
}

Result<Public> parse_public(ByteView bytes) {
  Cursor in(bytes);
  Public out;
  out.type = in.u16();
  out.name_alg = in.u16();
  out.attributes = in.u32();
  out.auth_policy = in.sized();
  if (!in.ok() || (out.type != kAlgRsa && out.type != kAlgEcc)) return malformed("the key is neither RSA nor ECC");
  if (digest_bytes(out.name_alg) == 0) return malformed("the key's name algorithm is not SHA-256 or better");
  out.symmetric = in.u16();
  if (out.symmetric != kAlgNull) {
    if (out.symmetric != kAlgAes) return malformed("the key's symmetric algorithm is not known");
    out.symmetric_bits = in.u16();
    out.symmetric_mode = in.u16();
  }
  if (out.type == kAlgRsa) {
    if (!read_scheme(in, out, {kAlgRsaSsa, kAlgRsaPss})) return malformed("the key's scheme is not known");
    out.rsa_bits = in.u16();
    out.rsa_exponent = in.u32();
    out.modulus = in.sized();
  } else {
    if (!read_scheme(in, out, {kAlgEcdsa})) return malformed("the key's scheme is not known");
    out.curve = in.u16();
    if (in.u16() != kAlgNull) return malformed("the key has a KDF scheme");
    out.x = in.sized();
    out.y = in.sized();
  }
  if (!in.at_end()) return malformed("the key is cut short or has bytes after its end");
  return out;
}

Result<Signature> parse_signature(ByteView bytes) {
  Cursor in(bytes);
  Signature out;
  out.scheme = in.u16();
  out.hash = in.u16();
  if (!in.ok() || !known_hash(out.hash)) return malformed("the signature's hash is not known");
  if (out.scheme == kAlgRsaSsa || out.scheme == kAlgRsaPss) {
    out.rsa = in.sized();
  } else if (out.scheme == kAlgEcdsa) {
    out.r = in.sized();
    out.s = in.sized();
  } else {
    return malformed("the signature's scheme is not known");
  }
  if (!in.at_end()) return malformed("the signature is cut short or has bytes after its end");
  return out;
}

Bytes encode(const Quote& quote) {
  Writer out;
  out.u32(quote.magic).u16(quote.type).sized(quote.qualified_signer).sized(quote.extra_data);
  out.u64(quote.clock_ms).u32(quote.reset_count).u32(quote.restart_count).u8(quote.safe ? 1 : 0);
  out.u64(quote.firmware_version).u32(static_cast<std::uint32_t>(quote.selection.size()));
  for (const auto& bank : quote.selection) {
    out.u16(bank.alg).u8(static_cast<std::uint8_t>(bank.bitmap.size())).raw(bank.bitmap);
  }
  return out.sized(quote.pcr_digest).take();
}

Bytes encode(const Public& key) {
  Writer out;
  out.u16(key.type).u16(key.name_alg).u32(key.attributes).sized(key.auth_policy).u16(key.symmetric);
  if (key.symmetric != kAlgNull) out.u16(key.symmetric_bits).u16(key.symmetric_mode);
  write_scheme(out, key);
  if (key.type == kAlgRsa) return out.u16(key.rsa_bits).u32(key.rsa_exponent).sized(key.modulus).take();
  return out.u16(key.curve).u16(kAlgNull).sized(key.x).sized(key.y).take();
}

Bytes encode(const Signature& signature) {
  Writer out;
  out.u16(signature.scheme).u16(signature.hash);
  if (signature.scheme == kAlgEcdsa) return out.sized(signature.r).sized(signature.s).take();
  return out.sized(signature.rsa).take();
}

Writer& Writer::u8(std::uint8_t v) {
  out_.push_back(v);
  return *this;
}

Writer& Writer::u16(std::uint16_t v) {
  return u8(static_cast<std::uint8_t>(v >> 8)).u8(static_cast<std::uint8_t>(v));
}

Writer& Writer::u32(std::uint32_t v) {
  return u16(static_cast<std::uint16_t>(v >> 16)).u16(static_cast<std::uint16_t>(v));
}

Writer& Writer::u64(std::uint64_t v) {
  return u32(static_cast<std::uint32_t>(v >> 32)).u32(static_cast<std::uint32_t>(v));
}

Writer& Writer::raw(ByteView bytes) {
  out_.insert(out_.end(), bytes.begin(), bytes.end());
  return *this;
}

Writer& Writer::sized(ByteView bytes) {
  return u16(static_cast<std::uint16_t>(bytes.size())).raw(bytes);
}

}  // namespace tb::attest
