#include "azure/app/plan.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>

#include "api/asset.h"
#include "base/bytes.h"
#include "base/error.h"

namespace tb::azure {
namespace {

// NVads_A10_v5 is not among them: its GPUs are shared by a driver with a licence of its own, which no archive has.
struct Size {
  std::string_view name;
  bool offered;  ///< where the provider names none
};
constexpr auto kSizes = std::to_array<Size>({{"Standard_NC4as_T4_v3", false},
                                             {"Standard_NC8as_T4_v3", false},
                                             {"Standard_NC16as_T4_v3", false},
                                             {"Standard_NC64as_T4_v3", false},
                                             {"Standard_NC24ads_A100_v4", true},
                                             {"Standard_NC48ads_A100_v4", true},
                                             {"Standard_NC96ads_A100_v4", true},
                                             {"Standard_NC40ads_H100_v5", true},
                                             {"Standard_NC80adis_H100_v5", true},
                                             {"Standard_NCC40ads_H100_v5", true},
                                             {"Standard_ND96isr_H100_v5", true},
                                             {"Standard_ND96isr_H200_v5", true}});

constexpr auto kDimensions = std::to_array<std::string_view>(
    {"requests", "tokens", "input_tokens", "output_tokens", "bytes", "gb_transferred", "gpu_minutes"});

[[noreturn]] void refuse(std::string_view what, std::string_view value, std::string_view form) {
  throw Error("usage",
              value.empty() ? fmt::format("{} is required", what) : fmt::format("{} is malformed: {}", what, form));
}

bool is_letter_or_digit(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool is_lower_or_digit(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z');
}

// Letters, digits and `also`, first of all a letter or digit.
bool is_word(std::string_view text, std::size_t most, std::string_view also) {
  return !text.empty() && text.size() <= most && is_letter_or_digit(text.front()) &&
         std::ranges::all_of(text, [&](char c) { return is_letter_or_digit(c) || also.contains(c); });
}

bool is_port(std::string_view text) {
  return !text.empty() && text.size() <= 5 && std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

// HOST[:PORT]/NAME…@sha256:HEX.
bool is_image(std::string_view text) {
  constexpr std::size_t kMost = 400;
  const std::size_t digest = text.find("@sha256:");
  if (text.size() > kMost || digest == std::string_view::npos) return false;
  const std::string_view hex = text.substr(digest + 8);
  if (hex.size() != 64 ||
      !std::ranges::all_of(hex, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); })) {
    return false;
  }
  const std::string_view name = text.substr(0, digest);
  const std::size_t slash = name.find('/');
  if (slash == std::string_view::npos) return false;
  const std::string_view place = name.substr(0, slash);
  const std::size_t colon = place.find(':');
  const std::string_view host = place.substr(0, colon);
  if (colon != std::string_view::npos && !is_port(place.substr(colon + 1))) return false;
  if (host.empty() || !is_lower_or_digit(host.front()) ||
      !std::ranges::all_of(host, [](char c) { return is_lower_or_digit(c) || c == '.' || c == '-'; })) {
    return false;
  }
  for (std::string_view rest = name.substr(slash + 1);;) {
    const std::size_t end = rest.find('/');
    const std::string_view part = rest.substr(0, end);
    if (part.empty() || !is_lower_or_digit(part.front()) ||
        !std::ranges::all_of(part, [](char c) { return is_lower_or_digit(c) || c == '.' || c == '_' || c == '-'; })) {
      return false;
    }
    if (end == std::string_view::npos) return true;
    rest.remove_prefix(end + 1);
  }
}

bool is_https_url(std::string_view text) {
  constexpr std::string_view kScheme = "https://";
  if (!text.starts_with(kScheme) || text.size() > 500) return false;
  const std::string_view rest = text.substr(kScheme.size());
  const std::size_t slash = std::min(rest.find('/'), rest.size());
  const std::string_view place = rest.substr(0, slash);
  const std::size_t colon = place.find(':');
  if (colon != std::string_view::npos && !is_port(place.substr(colon + 1))) return false;
  return is_word(place.substr(0, colon), 253, ".-") && std::ranges::all_of(rest.substr(slash), [](char c) {
           return is_letter_or_digit(c) || std::string_view("/._~-").contains(c);
         });
}

bool is_range(const std::string& text) {
  const std::size_t slash = text.find('/');
  const std::string address = text.substr(0, slash);
  const bool six = address.contains(':');
  std::array<unsigned char, sizeof(in6_addr)> bytes{};
  if (inet_pton(six ? AF_INET6 : AF_INET, address.c_str(), bytes.data()) != 1) return false;
  if (slash == std::string::npos) return true;
  const std::string bits = text.substr(slash + 1);
  return is_port(bits) && bits.size() <= 3 && std::stoi(bits) <= (six ? 128 : 32);
}

std::string completed(const std::string& size) {
  return size.starts_with("Standard_") ? size : "Standard_" + size;
}

}  // namespace

std::vector<std::string> known_sizes() {
  std::vector<std::string> out;
  for (const Size& size : kSizes) out.emplace_back(size.name);
  return out;
}

std::vector<std::string> default_sizes() {
  std::vector<std::string> out;
  for (const Size& size : kSizes) {
    if (size.offered) out.emplace_back(size.name);
  }
  return out;
}

AppPlan checked(AppPlan plan) {
  if (!api::valid_asset_id(plan.asset_id))
    refuse("--asset-id", plan.asset_id, "up to 100 letters, digits, underscores and hyphens");
  constexpr std::string_view kImageForm =
      "write REGISTRY/NAME@sha256:DIGEST, so that it cannot change after it was looked at";
  if (!is_image(plan.runtime_image)) refuse("--image", plan.runtime_image, kImageForm);
  if (plan.sentinel_image.empty()) plan.sentinel_image = plan.runtime_image;
  if (!is_image(plan.sentinel_image)) refuse("--sentinel-image", plan.sentinel_image, kImageForm);
  if (!is_https_url(plan.control_plane_url))
    refuse("--edc-endpoint", plan.control_plane_url, "an https URL without user, query or fragment");
  if (!plan.control_plane_key.empty()) {
    const auto key = from_base64url(plan.control_plane_key);
    if (!key || key->size() != 32) refuse("--control-plane-key", "?", "43 base64url characters");
  }
  if (!plan.contract_id.empty() && !(plan.contract_id.size() <= 64 && std::ranges::all_of(plan.contract_id, [](char c) {
                                       return is_letter_or_digit(c) || c == '_' || c == '-';
                                     }))) {
    refuse("--contract-id", plan.contract_id, "up to 64 letters, digits, underscores and hyphens");
  }
  if (plan.attestation != "none" && plan.attestation != "tpm") refuse("--attestation", plan.attestation, "none or tpm");
  if (plan.sizes.empty()) plan.sizes = default_sizes();
  for (std::string& size : plan.sizes) {
    size = completed(size);
    if (std::ranges::find(kSizes, size, &Size::name) == kSizes.end()) {
      refuse("--size", size, fmt::format("one of {}", fmt::join(known_sizes(), " ")));
    }
    if (std::ranges::count(plan.sizes, size) > 1) refuse("--size", size, fmt::format("{} was named twice", size));
  }
  for (const std::string& region : plan.regions) {
    if (!std::ranges::all_of(region, is_lower_or_digit) || region.empty() || region.size() > 40) {
      refuse("--region", "?", "small letters and digits, as westeurope");
    }
  }
  for (const std::string& range : plan.client_ranges) {
    if (!is_range(range)) refuse("--client-ranges", "?", "address ranges as 203.0.113.0/24, separated by commas");
  }
  for (const std::string& dimension : plan.billing_dimensions) {
    if (std::ranges::find(kDimensions, dimension) == kDimensions.end()) {
      refuse("--billing", "?", fmt::format("some of {}", fmt::join(kDimensions, " ")));
    }
  }
  if (plan.billing_dimensions.empty() != plan.billing_plan_id.empty()) {
    throw Error("usage", "--billing and --billing-plan go together");
  }
  if (!plan.billing_plan_id.empty() && !is_word(plan.billing_plan_id, 50, "_-")) {
    refuse("--billing-plan", plan.billing_plan_id, "the plan's id, letters, digits, underscores and hyphens");
  }
  return plan;
}

}  // namespace tb::azure
