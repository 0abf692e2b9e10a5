#include "sentinel/audit_record.h"

#include <algorithm>
#include <array>
#include <charconv>

namespace tb::sentinel {
namespace {

constexpr std::size_t kMaxNameBytes = 256;  ///< of methods, models, subjects and ids

void append_string(std::string& out, std::string_view text, std::size_t most) {
  text = text.substr(0, most);
  out += '"';
  const auto is_special = [](char c) { return c < 0x20 || c >= 0x7f || c == '"' || c == '\\'; };
  if (std::ranges::none_of(text, is_special)) {
    out += text;
  } else {
    for (const char c : text) {
      if (c == '"' || c == '\\') out += '\\';
      out += c < 0x20 || c >= 0x7f ? '?' : c;
    }
  }
  out += '"';
}

/// `lead`: what stands before the value, as in `,"status":`.
void append_member(std::string& out, std::string_view lead, std::string_view text, std::size_t most = kMaxNameBytes) {
  out += lead;
  append_string(out, text, most);
}

template <typename Number>
void append_member(std::string& out, std::string_view lead, Number value)
  requires std::is_integral_v<Number>
{
  char digits[24];
  const auto [end, fault] = std::to_chars(digits, digits + sizeof digits, value);
  out += lead;
  out.append(digits, end);
}

void append_member(std::string& out, std::string_view lead, const Digest& digest) {
  constexpr std::string_view kHex = "0123456789abcdef";
  std::array<char, 2 * sizeof(Digest) + 2> text;
  text.front() = text.back() = '"';
  for (std::size_t i = 0; i < digest.size(); ++i) {
    text[2 * i + 1] = kHex[digest[i] >> 4];
    text[2 * i + 2] = kHex[digest[i] & 15];
  }
  out += lead;
  out.append(text.data(), text.size());
}

std::string lead_of(std::string_view name) {
  return ",\"" + std::string(name) + "\":";
}

void append_usage(std::string& out, const meter::TokenUsage& usage) {
  append_member(out, R"(,"usage":{"input_tokens":)", usage.input_tokens);
  append_member(out, R"(,"output_tokens":)", usage.output_tokens);
  out += usage.estimated ? ",\"estimated\":true" : ",\"estimated\":false";
  out += usage.disputed ? ",\"disputed\":true}" : ",\"disputed\":false}";
}

void append_frame(std::string& out, const AuditFrame& frame, UnixMs time) {
  out += "{\"ts\":\"";
  out += to_rfc3339(time, true);
  out += '"';
  append_member(out, R"(,"contract_id":)", frame.contract_id);
  append_member(out, R"(,"asset_id":)", frame.asset_id);
}

}  // namespace

std::string_view outcome_name(Outcome outcome) {
  switch (outcome) {
    case Outcome::kComplete:
      return "complete";
    case Outcome::kAborted:
      return "aborted";
    case Outcome::kRefused:
      return "refused";
    case Outcome::kUpstreamError:
      return "upstream_error";
  }
  return "";
}

void append_record_text(std::string& out, const AuditFrame& frame, const AuditEntry& entry) {
  append_frame(out, frame, entry.time);
  append_member(out, R"(,"method":)", entry.method);
  append_member(out, R"(,"path":)", entry.path, kMaxAuditPathBytes);
  append_member(out, R"(,"req_sha256":)", entry.req_sha256);
  append_member(out, R"(,"status":)", entry.status);
  append_member(out, R"(,"latency_ms":)", entry.latency_ms);
  append_member(out, R"(,"request_id":)", entry.request_id);
  append_member(out, R"(,"subject":)", entry.subject);
  if (entry.resp_sha256) append_member(out, R"(,"resp_sha256":)", *entry.resp_sha256);
  append_member(out, R"(,"hash_alg":)", frame.keyed ? "HMAC-SHA256" : "SHA-256");
  append_member(out, R"(,"req_bytes":)", entry.req_bytes);
  append_member(out, R"(,"resp_bytes":)", entry.resp_bytes);
  append_member(out, R"(,"outcome":)", outcome_name(entry.outcome));
  if (!entry.model.empty()) append_member(out, R"(,"model":)", entry.model);
  if (entry.usage) append_usage(out, *entry.usage);
}

std::string event_record_text(const AuditFrame& frame, UnixMs time, std::string_view event,
                              std::initializer_list<std::pair<std::string_view, std::uint64_t>> numbers,
                              std::initializer_list<std::pair<std::string_view, std::string_view>> words) {
  std::string out;
  append_frame(out, frame, time);
  append_member(out, R"(,"event":)", event);
  for (const auto& [name, value] : numbers) append_member(out, lead_of(name), value);
  for (const auto& [name, value] : words) append_member(out, lead_of(name), value);
  return out;
}

}  // namespace tb::sentinel
