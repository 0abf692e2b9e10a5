#include "sentinel/audit_handful.h"

namespace tb::sentinel {
namespace {

/// Of texts, kept while there are none.
constexpr std::size_t kKeptTextBytes = 64 * std::size_t{2048};

}  // namespace

void AuditHandful::add(const AuditEntry& entry, UnixMs time, const UnhashedBodies& bodies) {
  AuditEntry& kept = entries_[used_++];
  kept = entry;
  kept.time = time;
  keep(bodies.request, false);
  keep(bodies.response, true);
}

void AuditHandful::keep(const std::optional<ByteView>& body, bool is_response) {
  if (!body) return;
  bodies_.push_back({.entry = used_ - 1, .is_response = is_response, .at = texts_.size(), .bytes = body->size()});
  texts_.insert(texts_.end(), body->begin(), body->end());
}

void AuditHandful::hash(const std::optional<HmacKey>& key, HmacLanes& lanes) {
  std::vector<HmacKey> request_keys;
  request_keys.reserve(used_);  // jobs point to them
  std::vector<HmacJob> jobs;
  jobs.reserve(bodies_.size());
  std::size_t newest = kMost;
  for (const Body& body : bodies_) {
    AuditEntry& entry = entries_[body.entry];
    Digest& out = body.is_response ? entry.resp_sha256.emplace() : entry.req_sha256;
    const ByteView text = ByteView(texts_).subspan(body.at, body.bytes);
    if (!key) {
      out = sha256(text);
      continue;
    }
    if (std::exchange(newest, body.entry) != body.entry) {
      request_keys.emplace_back(key->mac(as_bytes(entry.request_id)));
    }
    jobs.push_back({.key = &request_keys.back(), .message = text, .out = &out});
  }
  lanes.run(jobs);
  bodies_.clear();
  texts_.clear();
  if (texts_.capacity() > kKeptTextBytes) texts_.shrink_to_fit();
}

void AuditHandful::clear() {
  used_ = 0;
  bodies_.clear();
  texts_.clear();
}

}  // namespace tb::sentinel
