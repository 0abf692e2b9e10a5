#include "sentinel/hw_id.h"

#include <algorithm>

#include "base/crypto.h"
#include "base/fs.h"

namespace tb::sentinel {
namespace {

std::string identity_in(const std::string& path) {
  auto content = read_small_file(path, 4096);
  if (!content) return {};
  std::string text = std::move(*content);
  std::erase_if(text, [](char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\0'; });
  std::ranges::transform(text, text.begin(),
                         [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  // Boards without an id of their own say so by one digit repeated, or by the sample of the standard.
  const bool one_digit = std::ranges::all_of(text, [&](char c) { return c == text.front() || c == '-'; });
  if (one_digit || text == "03000200-0400-0500-0006-000700080009") return {};
  return text;
}

}  // namespace

std::string hw_id(const HwIdSources& sources) {
  std::string identity;
  if (!sources.override_file.empty()) {
    identity = identity_in(sources.override_file);
    if (identity.empty()) throw Error("config_invalid", "the file of TB_HW_ID_FILE holds no identity");
  }
  if (identity.empty()) identity = identity_in(sources.product_uuid);
  if (identity.empty()) identity = identity_in(sources.machine_id);
  if (identity.empty()) {
    throw Error("config_invalid", "this machine has no identity of its own").with_hint("set TB_HW_ID_FILE");
  }
  return sha256_hex("trustbridge hw v1\n" + identity);
}

}  // namespace tb::sentinel
