// Reading the `attestation_policy` of a contract: every fault is "contract_invalid" and names the field.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace tb::attest {

inline constexpr std::size_t kMaxPolicyEntries = 1000;

class PolicyReader {
 public:
  /// `where` stands before names in messages: "attestation_policy".
  PolicyReader(const Json& object, std::string where);

  bool has(std::string_view name) const { return object_.find(name) != nullptr; }
  void only(std::initializer_list<std::string_view> known) const;
  std::string text(std::string_view name, std::size_t max_bytes) const;  ///< required, not empty
  bool boolean(std::string_view name, bool fallback) const;
  std::int64_t integer(std::string_view name, std::int64_t max, std::int64_t fallback) const;
  /// Texts of 1 to `max_bytes`, none twice; absent: empty, present: at least one.
  std::vector<std::string> texts(std::string_view name, std::size_t max_bytes = 256) const;
  /// As texts, each the lower hex of `bytes` bytes.
  std::vector<std::string> digests(std::string_view name, std::size_t bytes) const;
  std::vector<std::int64_t> integers(std::string_view name, std::int64_t max) const;
  /// An object, or an empty one where it is absent.
  Json object(std::string_view name) const;
  [[noreturn]] void refuse(std::string_view name, std::string_view why) const;

 private:
  const Json::Array& list(std::string_view name) const;
  const Json& object_;
  std::string where_;
};

}  // namespace tb::attest
