// The two keys of an audit log, both made at the first start, both 0600 files in the state directory, never sent:
// `audit-key` (the consumer's, keys the body hashes) and `audit-signing-key` (signs checkpoints). The signing key's
// public half stands beside the log as `audit.pub`, and goes to the control plane with the first checkpoint.
#pragma once

#include <optional>
#include <string>

#include "base/crypto.h"
#include "base/hmac.h"

namespace tb::sentinel {

/// 64 hex digits. Throws "config_invalid" for a file that is none, "file_mode_unsafe".
HmacKey load_or_make_body_key(const std::string& state_dir);

/// Base64url of the Ed25519 seed. Nothing if there is none yet; throws "config_invalid" for a file that is none.
std::optional<Ed25519PrivateKey> load_signing_key(const std::string& state_dir);
/// Makes a new one in the place of any that is there, whole and synced.
Ed25519PrivateKey make_signing_key(const std::string& state_dir);
void drop_signing_key(const std::string& state_dir);

}  // namespace tb::sentinel
