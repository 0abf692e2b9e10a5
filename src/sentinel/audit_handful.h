// Some entries of the audit log on their way to the disk, and the bodies that nobody has hashed yet. They are made and
// used up a handful at a time: enough to fill the lanes that hash them, few enough to keep nobody waiting.
//
// A handful is used again: its texts keep their memory, and with it the threads their peace: what one of them allocates
// is not freed by the other.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "base/hmac_lanes.h"
#include "sentinel/audit_record.h"

namespace tb::sentinel {

/// Bodies of a request that nobody has hashed yet.
struct UnhashedBodies {
  std::optional<ByteView> request, response;
  std::size_t bytes() const { return (request ? request->size() : 0) + (response ? response->size() : 0); }
};

class AuditHandful {
 public:
  static constexpr std::size_t kMost = 64;

  AuditHandful() : entries_(kMost) {}
  bool is_full() const { return used_ == kMost; }
  std::span<const AuditEntry> entries() const { return std::span(entries_).first(used_); }
  std::size_t text_bytes() const { return texts_.size(); }

  /// Not to a full one. The bodies are copied.
  void add(const AuditEntry& entry, UnixMs time, const UnhashedBodies& bodies);
  /// Makes the digests that are missing, as BodyHash does (no key: plain SHA-256), and lets go of the bodies.
  void hash(const std::optional<HmacKey>& key, HmacLanes& lanes);
  void clear();

 private:
  struct Body {
    std::size_t entry = 0;
    bool is_response = false;
    std::size_t at = 0, bytes = 0;  ///< in `texts_`
  };
  void keep(const std::optional<ByteView>& body, bool is_response);

  std::vector<AuditEntry> entries_;
  std::size_t used_ = 0;
  std::vector<Body> bodies_;
  Bytes texts_;
};

}  // namespace tb::sentinel
