#include "attest/quote.h"

#include <fmt/format.h>

#include <algorithm>
#include <tuple>

#include "attest/crypto_keys.h"
#include "attest/enrolment.h"

namespace tb::attest {
namespace {

constexpr std::uint32_t kEndorsementHierarchy = 0x4000000B;
constexpr std::uint64_t kMaxClockMs = std::uint64_t{1} << 53;

/// Part 1, 16: the Name of a key and of all above it.
Bytes qualified_name(const Public& ek, const Public& ak) {
  const Bytes root = Writer().u32(kEndorsementHierarchy).raw(name_of(ek)).take();
  const Bytes of_ek = Writer().u16(ek.name_alg).raw(digest(ek.name_alg, root)).take();
  const Bytes path = Writer().raw(of_ek).raw(name_of(ak)).take();
  return Writer().u16(ak.name_alg).raw(digest(ak.name_alg, path)).take();
}

Json clock_json(const api::TpmClock& clock) {
  Json json = Json::object();
  json.set("reset_count", clock.reset_count);
  json.set("restart_count", clock.restart_count);
  json.set("clock_ms", clock.clock_ms);
  return json;
}

Verified<Signature> check_signature(const api::TpmEvidence& evidence, const Public& ak) {
  const auto signature = parse_signature(evidence.signature);
  if (!signature) return failed("signature_scheme", signature.error().message);
  const bool strong = digest_bytes(signature->hash) != 0;
  if (!strong || signature->scheme != ak.scheme || signature->hash != ak.scheme_hash) {
    return failed("signature_scheme",
                  fmt::format("scheme 0x{:04x} with hash 0x{:04x}", signature->scheme, signature->hash),
                  fmt::format("0x{:04x} with 0x{:04x}", ak.scheme, ak.scheme_hash),
                  fmt::format("0x{:04x} with 0x{:04x}", signature->scheme, signature->hash));
  }
  if (!verify_signature(ak, *signature, evidence.quote)) return failed("signature", "");
  return *signature;
}

/// The signed structure is a TPM's quote by this key about this request.
Verified<Quote> check_statement(const api::TpmEvidence& evidence, const QuoteQuestion& question) {
  const auto parsed = parse_quote(evidence.quote);
  if (!parsed) return failed("quote_form", parsed.error().message);
  if (parsed->magic != kQuoteMagic) return failed("quote_magic", "", kQuoteMagic, parsed->magic);
  if (parsed->type != kQuoteType) return failed("quote_type", "", kQuoteType, parsed->type);
  if (parsed->clock_ms > kMaxClockMs) return failed("quote_form", "the clock is beyond 2^53 ms");
  const Bytes signer = qualified_name(question.ek, question.ak);
  if (!std::ranges::equal(parsed->qualified_signer, signer)) {
    return failed("qualified_signer", "", to_hex(signer), to_hex(parsed->qualified_signer));
  }
  if (!std::ranges::equal(parsed->extra_data, question.qualifier)) {
    return failed("nonce", "", to_hex(question.qualifier), to_hex(parsed->extra_data));
  }
  return *parsed;
}

Verified<QuoteFacts> check_clock(const Quote& quote, const QuoteQuestion& question, const api::TpmPolicy& policy) {
  const QuoteFacts facts{.clock = {.reset_count = quote.reset_count,
                                   .restart_count = quote.restart_count,
                                   .clock_ms = static_cast<std::int64_t>(quote.clock_ms)},
                         .firmware_version = quote.firmware_version};
  if (policy.require_safe_clock && !quote.safe) return failed("clock_safe", "", true, false);
  if (question.last && !clock_goes_on(*question.last, facts.clock)) {
    return failed("clock_monotonic", "", clock_json(*question.last), clock_json(facts.clock));
  }
  const std::string version = fmt::format("{:016x}", quote.firmware_version);
  if (quote.firmware_version < policy.firmware_min) {
    return failed("firmware", "firmware " + version, fmt::format("at least {:016x}", policy.firmware_min), version);
  }
  if (std::ranges::find(policy.firmware_deny, quote.firmware_version) != policy.firmware_deny.end()) {
    return failed("firmware", "firmware " + version, "another", version);
  }
  return facts;
}

const std::string* value_of(const api::PcrValues& values, std::string_view bank, unsigned index) {
  const auto members = values.find(bank);
  if (members == values.end()) return nullptr;
  const auto value = members->second.find(index);
  return value == members->second.end() ? nullptr : &value->second;
}

Verified<> check_selection(const Quote& quote, const api::TpmPolicy& policy) {
  api::PcrIndices seen;
  for (const auto& bank : quote.selection) {
    for (unsigned index = 0; index < 8 * bank.bitmap.size(); ++index) {
      if (!bank.selects(index)) continue;
      const bool known = digest_bytes(bank.alg) != 0 && index < api::kPcrCount;
      if (!known) return failed("pcr_bank", fmt::format("PCR {} of bank 0x{:04x}", index, bank.alg));
      seen[std::string(bank_name(bank.alg))].insert(index);
    }
  }
  for (const auto& [bank, members] : policy.selection()) {
    for (const unsigned index : members) {
      if (seen[bank].contains(index)) continue;
      return failed("pcr_selection", fmt::format("PCR {} of {} is not in the quote", index, bank),
                    api::to_json(policy.selection()), api::to_json(seen));
    }
  }
  return {};
}

/// Part 3, 18.4: the digest is of the selected PCRs, bank by bank in the order of the selection, by the signature's
/// hash.
Verified<> check_digest(const Quote& quote, std::uint16_t hash, const api::PcrValues& values) {
  Writer all;
  std::size_t used = 0, given = 0;
  for (const auto& bank : quote.selection) {
    for (unsigned index = 0; index < 8 * bank.bitmap.size(); ++index) {
      if (!bank.selects(index)) continue;
      const std::string* value = value_of(values, bank_name(bank.alg), index);
      if (value == nullptr) return failed("pcr_digest", fmt::format("the value of PCR {} did not come", index));
      all.raw(from_hex(*value).value_or(Bytes()));
      ++used;
    }
  }
  for (const auto& [bank, members] : values) given += members.size();
  if (given != used) return failed("pcr_digest", "values came of PCRs that were not quoted");
  const Bytes expected = digest(hash, all.take());
  if (!std::ranges::equal(expected, quote.pcr_digest)) {
    return failed("pcr_digest", "", to_hex(expected), to_hex(quote.pcr_digest));
  }
  return {};
}

Verified<> check_values(const api::PcrValues& values, const api::TpmPolicy& policy) {
  std::string facts;
  Json expected = Json::object(), seen = Json::object();
  for (const auto& [bank, members] : policy.pcrs) {
    for (const auto& [index, allowed] : members) {
      const std::string* value = value_of(values, bank, index);
      if (value != nullptr && std::ranges::find(allowed, *value) != allowed.end()) continue;
      const std::string name = fmt::format("{}:{}", bank, index);
      const std::string found = value == nullptr ? "absent" : *value;
      Json list = Json::array();
      for (const auto& one : allowed) list.push(one);
      expected.set(name, std::move(list));
      seen.set(name, found);
      facts += fmt::format("{}PCR {} of {} is {}", facts.empty() ? "" : ", ", index, bank, found);
    }
  }
  if (facts.empty()) return {};
  return failed("pcr_values", facts, std::move(expected), std::move(seen));
}

Verified<> check_config(const std::string& seen, const api::TpmPolicy& policy) {
  if (policy.config_sha256.empty()) return {};
  if (std::ranges::find(policy.config_sha256, seen) != policy.config_sha256.end()) return {};
  Json expected = Json::array();
  for (const auto& one : policy.config_sha256) expected.push(one);
  return failed("config_sha256", seen.empty() ? "no hash came" : "the hash is " + seen, std::move(expected), seen);
}

}  // namespace

bool clock_goes_on(const api::TpmClock& last, const api::TpmClock& next) {
  return std::tie(last.reset_count, last.restart_count, last.clock_ms) <=
         std::tie(next.reset_count, next.restart_count, next.clock_ms);
}

Verified<QuoteFacts> check_quote(const api::TpmEvidence& evidence, const QuoteQuestion& question,
                                 const api::TpmPolicy& policy) {
  if (auto key = check_attestation_key(question.ak); !key) return std::unexpected(std::move(key.error()));
  const auto signature = check_signature(evidence, question.ak);
  if (!signature) return std::unexpected(signature.error());
  const auto quote = check_statement(evidence, question);
  if (!quote) return std::unexpected(quote.error());
  auto facts = check_clock(*quote, question, policy);
  if (!facts) return facts;
  auto state = check_selection(*quote, policy);
  if (state) state = check_digest(*quote, signature->hash, evidence.pcrs);
  if (state) state = check_values(evidence.pcrs, policy);
  if (state) state = check_config(evidence.config_sha256, policy);
  if (!state) return std::unexpected(std::move(state.error()));
  return facts;
}

}  // namespace tb::attest
