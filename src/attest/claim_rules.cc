// A claim that is missing fails its rule: what an issuer left out was not attested.
#include "attest/claim_rules.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "attest/policy_reader.h"

namespace tb::attest {
namespace {

constexpr std::size_t kMaxSeenBytes = 512;

bool is_scalar(const Json& value) {
  return value.is_bool() || value.is_integer() || (value.is_string() && value.as_string().size() <= kMaxSeenBytes);
}

bool same(const Json& a, const Json& b) {
  if (a.is_string() && b.is_string()) return a.as_string() == b.as_string();
  if (a.is_bool() && b.is_bool()) return a.as_bool() == b.as_bool();
  return a.is_integer() && b.is_integer() && a.as_integer() == b.as_integer();
}

std::string shown(const Json& value) {
  return value.is_string() ? value.as_string() : value.dump();
}

}  // namespace

ClaimRule ClaimRule::parse(const Json& json, const std::string& where) {
  const PolicyReader reader(json, where);
  reader.only({"path", "equals", "one_of", "at_least"});
  ClaimRule rule;
  const Json* path = json.find("path");
  if (path == nullptr || !path->is_array() || path->as_array().empty() || path->as_array().size() > kMaxClaimDepth) {
    reader.refuse("path", fmt::format("must be a list of 1 to {} names", kMaxClaimDepth));
  }
  for (const Json& name : path->as_array()) {
    if (!name.is_string() || name.as_string().empty() || name.as_string().size() > 128) {
      reader.refuse("path", "must list names of 1 to 128 bytes");
    }
    rule.path.push_back(name.as_string());
  }
  if (int{reader.has("equals")} + int{reader.has("one_of")} + int{reader.has("at_least")} != 1) {
    reader.refuse("path", "needs exactly one of equals, one_of and at_least beside it");
  }
  if (const Json* value = json.find("equals")) {
    if (!is_scalar(*value)) reader.refuse("equals", "must be a text, a whole number, true or false");
    rule.one_of.push_back(*value);
  } else if (const Json* values = json.find("one_of")) {
    if (!values->is_array() || values->as_array().empty() || values->as_array().size() > kMaxPolicyEntries ||
        !std::ranges::all_of(values->as_array(), is_scalar)) {
      reader.refuse("one_of", "must be a list of texts, whole numbers, true or false");
    }
    rule.one_of = values->as_array();
  } else {
    rule.at_least = reader.integer("at_least", (std::int64_t{1} << 53) - 1, 0);
  }
  rule.mend =
      fmt::format("run on a machine whose attested {} is one that the contract allows", fmt::join(rule.path, "."));
  return rule;
}

const Json* claim_at(const Json& claims, const std::vector<std::string>& path) {
  const Json* at = &claims;
  for (const std::string& name : path) {
    at = at->find(name);
    if (at == nullptr) return nullptr;
  }
  return at;
}

Verified<void> check_claim(const ClaimRule& rule, const Json& claims) {
  const Json* claim = claim_at(claims, rule.path);
  if (claim != nullptr && !rule.one_of.empty()) {
    if (std::ranges::any_of(rule.one_of, [claim](const Json& value) { return same(value, *claim); })) return {};
  } else if (claim != nullptr && claim->is_integer() && claim->as_integer() >= rule.at_least) {
    return {};
  }
  std::vector<std::string> expected;
  for (const Json& value : rule.one_of) expected.push_back(shown(value));
  const std::string name = fmt::format("{}", fmt::join(rule.path, "."));
  const std::string seen = claim == nullptr ? "missing" : shown(*claim).substr(0, kMaxSeenBytes);
  return refuse(rule.id, rule.mend,
                rule.one_of.empty() ? fmt::format("{} >= {}", name, rule.at_least)
                                    : fmt::format("{} = {}", name, fmt::join(expected, ",")),
                fmt::format("{} = {}", name, seen));
}

}  // namespace tb::attest
