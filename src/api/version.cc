// Numbers are compared as digits, by length first: no size is too large for them.
#include "api/version.h"

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

namespace tb::api {
namespace {

using Parts = std::vector<std::string_view>;

struct Version {
  Parts numbers;
  Parts prerelease;
};

Parts split(std::string_view text) {
  Parts out;
  for (;;) {
    const std::size_t dot = text.find('.');
    out.push_back(text.substr(0, dot));
    if (dot == std::string_view::npos) return out;
    text.remove_prefix(dot + 1);
  }
}

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

bool is_number(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, is_digit);
}

bool is_plain_number(std::string_view text) {
  return is_number(text) && (text.size() == 1 || text.front() != '0');
}

bool is_identifier(std::string_view text) {
  const auto allowed = [](char c) {
    return is_digit(c) || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '-';
  };
  return !text.empty() && std::ranges::all_of(text, allowed);
}

std::optional<Version> parse(std::string_view text) {
  constexpr std::size_t kMaxBytes = 64;
  if (text.size() > kMaxBytes) return std::nullopt;
  if (const std::size_t plus = text.find('+'); plus != std::string_view::npos) {
    if (!std::ranges::all_of(split(text.substr(plus + 1)), is_identifier)) return std::nullopt;
    text = text.substr(0, plus);
  }
  Version out;
  if (const std::size_t dash = text.find('-'); dash != std::string_view::npos) {
    out.prerelease = split(text.substr(dash + 1));
    const auto good = [](std::string_view part) {
      return is_identifier(part) && (!is_number(part) || is_plain_number(part));
    };
    if (!std::ranges::all_of(out.prerelease, good)) return std::nullopt;
    text = text.substr(0, dash);
  }
  out.numbers = split(text);
  if (out.numbers.size() != 3 || !std::ranges::all_of(out.numbers, is_plain_number)) return std::nullopt;
  return out;
}

/// Negative, zero or positive, as a is before, equal to or after b.
int compare_numbers(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return a.size() < b.size() ? -1 : 1;
  return a.compare(b);
}

int compare_identifiers(std::string_view a, std::string_view b) {
  if (is_number(a) != is_number(b)) return is_number(a) ? -1 : 1;
  return is_number(a) ? compare_numbers(a, b) : a.compare(b);
}

int compare_all(const Parts& a, const Parts& b, int (*compare)(std::string_view, std::string_view)) {
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    if (const int order = compare(a[i], b[i]); order != 0) return order;
  }
  return a.size() == b.size() ? 0 : a.size() < b.size() ? -1 : 1;
}

}  // namespace

bool is_version(std::string_view text) {
  return parse(text).has_value();
}

bool is_older(std::string_view version, std::string_view than) {
  const auto a = parse(version);
  const auto b = parse(than);
  if (!a || !b) return !a && b;
  if (const int order = compare_all(a->numbers, b->numbers, compare_numbers); order != 0) return order < 0;
  if (a->prerelease.empty() != b->prerelease.empty()) return !a->prerelease.empty();
  return compare_all(a->prerelease, b->prerelease, compare_identifiers) < 0;
}

}  // namespace tb::api
