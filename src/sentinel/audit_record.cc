#include "sentinel/audit_record.h"

#include <algorithm>
#include <charconv>

namespace tb::sentinel {
namespace {

constexpr std::size_t kMaxNameBytes = 256;  ///< of methods, models, subjects and ids

/// Every text of a record as long as it may be, and escaped; the rest are numbers and names.
static_assert(2 * (6 * kMaxNameBytes + kMaxAuditPathBytes) + 1024 <= kMaxAuditRecordBytes);

// Puts JSON members behind each other, into room for kMaxAuditRecordBytes. `lead`: what stands before the value, as in
// `,"status":`.
class MemberWriter {
 public:
  explicit MemberWriter(char* at) : at_(at) {}
  char* end() const { return at_; }

  void text(std::string_view text) { at_ = std::copy(text.begin(), text.end(), at_); }
  void member(std::string_view lead, std::string_view value, std::size_t most = kMaxNameBytes) {
    text(lead);
    *at_++ = '"';
    value = value.substr(0, most);
    const auto is_plain = [](char c) { return c >= 0x20 && c < 0x7f && c != '"' && c != '\\'; };
    bool all_plain = true;
    for (const char c : value) all_plain &= is_plain(c);
    if (all_plain) {
      text(value);
    } else {
      for (const char c : value) {
        if (c == '"' || c == '\\') *at_++ = '\\';
        *at_++ = c < 0x20 || c >= 0x7f ? '?' : c;
      }
    }
    *at_++ = '"';
  }
  template <typename Number>
  void member(std::string_view lead, Number value)
    requires std::is_integral_v<Number>
  {
    text(lead);
    at_ = std::to_chars(at_, at_ + 24, value).ptr;
  }
  void member(std::string_view lead, const Digest& digest) {
    text(lead);
    *at_++ = '"';
    at_ = put_hex(digest, at_);
    *at_++ = '"';
  }
  void frame(const AuditFrame& frame, UnixMs time) {
    member(R"({"ts":)", to_rfc3339(time, true));
    member(R"(,"contract_id":)", frame.contract_id);
    member(R"(,"asset_id":)", frame.asset_id);
  }
  void usage(const meter::TokenUsage& usage) {
    member(R"(,"usage":{"input_tokens":)", usage.input_tokens);
    member(R"(,"output_tokens":)", usage.output_tokens);
    text(usage.estimated ? R"(,"estimated":true)" : R"(,"estimated":false)");
    text(usage.disputed ? R"(,"disputed":true})" : R"(,"disputed":false})");
  }

 private:
  char* at_;
};

template <typename Write>
void append_members(std::string& out, Write write) {
  const std::size_t before = out.size();
  out.resize_and_overwrite(before + kMaxAuditRecordBytes, [&](char* text, std::size_t) {
    MemberWriter writer(text + before);
    write(writer);
    return static_cast<std::size_t>(writer.end() - text);
  });
}

std::string lead_of(std::string_view name) {
  return ",\"" + std::string(name) + "\":";
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

void AuditRecordWriter::append(std::string& out, const AuditFrame& frame, const AuditEntry& entry) {
  if (std::exchange(time_, entry.time) != entry.time) {
    beginning_.clear();
    append_members(beginning_, [&](MemberWriter& record) { record.frame(frame, entry.time); });
  }
  append_members(out, [&](MemberWriter& record) {
    record.text(beginning_);
    record.member(R"(,"method":)", entry.method);
    record.member(R"(,"path":)", entry.path, kMaxAuditPathBytes);
    record.member(R"(,"req_sha256":)", entry.req_sha256);
    record.member(R"(,"status":)", entry.status);
    record.member(R"(,"latency_ms":)", entry.latency_ms);
    record.member(R"(,"request_id":)", entry.request_id);
    record.member(R"(,"subject":)", entry.subject);
    if (entry.resp_sha256) record.member(R"(,"resp_sha256":)", *entry.resp_sha256);
    record.member(R"(,"hash_alg":)", std::string_view(frame.keyed ? "HMAC-SHA256" : "SHA-256"));
    record.member(R"(,"req_bytes":)", entry.req_bytes);
    record.member(R"(,"resp_bytes":)", entry.resp_bytes);
    record.member(R"(,"outcome":)", outcome_name(entry.outcome));
    if (!entry.model.empty()) record.member(R"(,"model":)", entry.model);
    if (entry.usage) record.usage(*entry.usage);
  });
}

std::string event_record_text(const AuditFrame& frame, UnixMs time, std::string_view event,
                              std::initializer_list<std::pair<std::string_view, std::uint64_t>> numbers,
                              std::initializer_list<std::pair<std::string_view, std::string_view>> words) {
  std::string out;
  append_members(out, [&](MemberWriter& record) {
    record.frame(frame, time);
    record.member(R"(,"event":)", event);
    for (const auto& [name, value] : numbers) record.member(lead_of(name), value);
    for (const auto& [name, value] : words) record.member(lead_of(name), value);
  });
  return out;
}

}  // namespace tb::sentinel
