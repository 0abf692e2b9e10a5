#include "sentinel/audit_replay.h"

#include <algorithm>
#include <vector>

#include "base/json.h"
#include "tlog/segments.h"

namespace tb::sentinel {
namespace {

constexpr std::size_t kAtOnce = 2000;

std::int64_t integer_of(const Json& json, std::string_view name) {
  const Json* value = json.find(name);
  return value != nullptr && value->is_integer() ? value->as_integer() : 0;
}
std::string text_of(const Json& json, std::string_view name) {
  const Json* value = json.find(name);
  return value != nullptr && value->is_string() ? value->as_string() : std::string();
}
bool truth_of(const Json& json, std::string_view name) {
  const Json* value = json.find(name);
  return value != nullptr && value->is_bool() && value->as_bool();
}

bool was_served(std::string_view method, std::int64_t status, bool has_usage) {
  return has_usage || (method == "POST" && status >= 200 && status < 300);
}

}  // namespace

meter::LedgerEntry ledger_entry(const AuditEntry& entry) {
  return {.request_id = entry.request_id,
          .subject = entry.subject,
          .time = entry.time,
          .served = was_served(entry.method, entry.status, entry.usage.has_value()),
          .usage = entry.usage.value_or(meter::TokenUsage{}),
          .bytes = entry.req_bytes + entry.resp_bytes};
}

meter::LedgerEntry ledger_entry(std::string_view line) {
  const auto json = Json::parse(line, {.bytes = tlog::kMaxRecordBytes, .depth = 8});
  if (!json || !json->is_object()) throw Error("chain_broken", "a line of the audit log is no record");
  meter::LedgerEntry out{.request_id = text_of(*json, "request_id"), .subject = text_of(*json, "subject")};
  const auto time = from_rfc3339(text_of(*json, "ts"));
  if (time) out.time = *time;
  if (json->find("event") != nullptr) return out;
  const Json* usage = json->find("usage");
  if (usage != nullptr && usage->is_object()) {
    out.usage = {.input_tokens = integer_of(*usage, "input_tokens"),
                 .output_tokens = integer_of(*usage, "output_tokens"),
                 .estimated = truth_of(*usage, "estimated"),
                 .disputed = truth_of(*usage, "disputed")};
  }
  out.served = was_served(text_of(*json, "method"), integer_of(*json, "status"), usage != nullptr);
  out.bytes = static_cast<std::uint64_t>(std::max<std::int64_t>(0, integer_of(*json, "req_bytes"))) +
              static_cast<std::uint64_t>(std::max<std::int64_t>(0, integer_of(*json, "resp_bytes")));
  return out;
}

void replay_audit(const std::string& directory, std::uint64_t from,
                  const std::function<void(std::uint64_t first, std::span<const meter::LedgerEntry>)>& take) {
  const std::string path = directory + "/audit.jsonl";
  const tlog::Segments parts = tlog::list_segments(path);
  const auto read = [&](const std::string& part, std::uint64_t seq) {
    std::vector<meter::LedgerEntry> some;
    std::uint64_t first = std::max(seq, from);
    tlog::LineReader lines(part);
    std::string line;
    for (; lines.next(line); ++seq) {
      if (seq < from) continue;
      some.push_back(ledger_entry(line));
      if (some.size() < kAtOnce) continue;
      take(first, some);
      first += some.size();
      some.clear();
    }
    if (!some.empty()) take(first, some);
    return seq;
  };
  std::uint64_t next = parts.closed.empty() ? 0 : parts.closed.front();
  for (std::size_t i = 0; i < parts.closed.size(); ++i) {
    const bool passes = i + 1 < parts.closed.size() && parts.closed[i + 1] <= from;
    next = passes ? parts.closed[i + 1] : read(tlog::segment_path(path, parts.closed[i]), parts.closed[i]);
  }
  if (!parts.has_open) return;
  // The open part follows the last closed one; where all of those are gone, its cut says with which record it begins.
  if (parts.closed.empty() && !parts.cuts.empty()) next = parts.cuts.back();
  read(path, next);
}

}  // namespace tb::sentinel
