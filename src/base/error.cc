// The error table: the only place that decides codes, statuses, exits and retries.
#include "base/error.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

namespace tb {
namespace {

using enum Code;

// Sorted by reason; one line each.
constexpr auto kTable = std::to_array<ReasonInfo>({
    {"bad_base64", kMalformed, 400, 4, false, ""},
    {"bad_duration", kMalformed, 400, 2, false, "write a number with ms, s, m, h or d, as in 30s"},
    {"bad_hex", kMalformed, 400, 4, false, ""},
    {"bad_time", kMalformed, 400, 4, false, "write RFC 3339, as in 2026-12-31T23:59:59Z"},
    {"cancelled", kCancelled, 499, 130, false, ""},
    {"disk_full", kExhausted, 507, 8, false, "free some space, or choose another place"},
    {"field_invalid", kMalformed, 400, 4, false, ""},
    {"field_missing", kMalformed, 400, 4, false, ""},
    {"file_mode_unsafe", kDenied, 403, 3, false, "chmod 600 the file"},
    {"file_not_found", kNotFound, 404, 5, false, ""},
    {"file_too_large", kMalformed, 413, 4, false, ""},
    {"internal", kInternal, 500, 1, false, ""},
    {"io_error", kInternal, 500, 1, false, ""},
    {"json_malformed", kMalformed, 400, 4, false, ""},
    {"json_not_canonical", kMalformed, 400, 4, false, ""},
    {"key_unwrap_failed", kTampered, 500, 4, false, ""},
    {"out_of_memory", kExhausted, 507, 8, false, ""},
    {"output_exists", kConflict, 409, 7, false, "give another path, or --force to replace it"},
    {"permission_denied", kDenied, 403, 3, false, ""},
    {"unknown_field", kMalformed, 400, 4, false, ""},
    {"usage", kMalformed, 400, 2, false, ""},
});

}  // namespace

std::string_view code_name(Code code) {
  switch (code) {
    case kMalformed: return "malformed";
    case kTruncated: return "truncated";
    case kTampered: return "tampered";
    case kNotFound: return "not_found";
    case kDenied: return "denied";
    case kExpired: return "expired";
    case kConflict: return "conflict";
    case kUnavailable: return "unavailable";
    case kCancelled: return "cancelled";
    case kExhausted: return "exhausted";
    case kInternal: return "internal";
  }
  return "internal";
}

std::span<const ReasonInfo> reason_table() {
  return kTable;
}

const ReasonInfo& reason_info(std::string_view reason) {
  const auto row = std::ranges::lower_bound(kTable, reason, {}, &ReasonInfo::reason);
  if (row != kTable.end() && row->reason == reason) return *row;
  return *std::ranges::lower_bound(kTable, std::string_view("internal"), {}, &ReasonInfo::reason);
}

std::string Error::story() const {
  std::string text = message;
  for (const Error* e = cause.get(); e != nullptr; e = e->cause.get()) text += ": " + e->message;
  return text;
}

Error error_from_errno(int err, std::string_view what) {
  std::string_view reason = "io_error";
  switch (err) {
    case ENOENT:
    case ENOTDIR: reason = "file_not_found"; break;
    case EACCES:
    case EPERM:
    case EROFS: reason = "permission_denied"; break;
    case EEXIST: reason = "output_exists"; break;
    case ENOSPC:
    case EDQUOT:
    case EFBIG: reason = "disk_full"; break;
    case ENOMEM: reason = "out_of_memory"; break;
    default: break;
  }
  char buffer[128];
  const char* text = strerror_r(err, buffer, sizeof buffer);
  std::string lower(text);
  if (!lower.empty() && lower.size() > 1 && lower[1] >= 'a') lower[0] = static_cast<char>(std::tolower(lower[0]));
  return Error(reason, fmt::format("{}: {}", what, lower));
}

}  // namespace tb
