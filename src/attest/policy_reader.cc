// An empty list is refused rather than read as "any": it is what a script leaves that found nothing to allow.
#include "attest/policy_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

namespace tb::attest {

PolicyReader::PolicyReader(const Json& object, std::string where) : object_(object), where_(std::move(where)) {
  if (!object.is_object()) throw Error("contract_invalid", where_ + " must be an object");
}

void PolicyReader::refuse(std::string_view name, std::string_view why) const {
  throw Error("contract_invalid", fmt::format("{}.{} {}", where_, name, why));
}

void PolicyReader::only(std::initializer_list<std::string_view> known) const {
  for (const auto& [name, value] : object_.as_object()) {
    if (std::ranges::find(known, name) == known.end()) refuse(name.substr(0, 64), "is not known");
  }
}

std::string PolicyReader::text(std::string_view name, std::size_t max_bytes) const {
  const Json* value = object_.find(name);
  if (value == nullptr) refuse(name, "is missing");
  if (!value->is_string() || value->as_string().empty() || value->as_string().size() > max_bytes) {
    refuse(name, fmt::format("must be a text of 1 to {} bytes", max_bytes));
  }
  return value->as_string();
}

bool PolicyReader::boolean(std::string_view name, bool fallback) const {
  const Json* value = object_.find(name);
  if (value == nullptr) return fallback;
  if (!value->is_bool()) refuse(name, "must be true or false");
  return value->as_bool();
}

std::int64_t PolicyReader::integer(std::string_view name, std::int64_t max, std::int64_t fallback) const {
  const Json* value = object_.find(name);
  if (value == nullptr) return fallback;
  if (!value->is_integer() || value->as_integer() < 0 || value->as_integer() > max) {
    refuse(name, fmt::format("must be a whole number from 0 to {}", max));
  }
  return value->as_integer();
}

const Json::Array& PolicyReader::list(std::string_view name) const {
  static const Json::Array kNone;
  const Json* value = object_.find(name);
  if (value == nullptr) return kNone;
  if (!value->is_array() || value->as_array().empty() || value->as_array().size() > kMaxPolicyEntries) {
    refuse(name, fmt::format("must be a list of 1 to {} entries; leave it out to allow any", kMaxPolicyEntries));
  }
  return value->as_array();
}

std::vector<std::string> PolicyReader::texts(std::string_view name, std::size_t max_bytes) const {
  std::vector<std::string> out;
  std::set<std::string_view> seen;
  for (const Json& entry : list(name)) {
    if (!entry.is_string() || entry.as_string().empty() || entry.as_string().size() > max_bytes) {
      refuse(name, fmt::format("must list texts of 1 to {} bytes", max_bytes));
    }
    if (!seen.insert(entry.as_string()).second) refuse(name, "names the same twice");
    out.push_back(entry.as_string());
  }
  return out;
}

std::vector<std::string> PolicyReader::digests(std::string_view name, std::size_t bytes) const {
  auto out = texts(name, 2 * bytes);
  for (const std::string& text : out) {
    if (text.size() != 2 * bytes || text.find_first_not_of("0123456789abcdef") != std::string::npos) {
      refuse(name, fmt::format("must list values of {} lower-case hex digits", 2 * bytes));
    }
  }
  return out;
}

std::vector<std::int64_t> PolicyReader::integers(std::string_view name, std::int64_t max) const {
  std::vector<std::int64_t> out;
  for (const Json& entry : list(name)) {
    if (!entry.is_integer() || entry.as_integer() < 0 || entry.as_integer() > max) {
      refuse(name, fmt::format("must list whole numbers from 0 to {}", max));
    }
    out.push_back(entry.as_integer());
  }
  return out;
}

Json PolicyReader::object(std::string_view name) const {
  const Json* value = object_.find(name);
  if (value == nullptr) return Json::object();
  if (!value->is_object()) refuse(name, "must be an object");
  return *value;
}

}  // namespace tb::attest
