// The key that this sentinel's leases belong to: P-256, made at the first start and kept in the state directory, so
// that a sentinel that was killed is known again and has its seat back. Copied to another machine it gives itself away:
// docs/spec/wire.md 1.1, lease_cloned.
#pragma once

#include <string>

#include "jose/p256.h"

namespace tb::sentinel {

/// Reads the 0600 file, or makes it, whole and fsynced. Throws what reading and writing throw ("file_mode_unsafe" for
/// one that others can read), and "sentinel_key_malformed".
jose::PrivateKey load_or_make_sentinel_key(const std::string& path);

}  // namespace tb::sentinel
