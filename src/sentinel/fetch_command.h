// `trustbridge-sentinel fetch trustbridge://CONTRACT/ASSET DIR`: an asset's ciphertext and manifest as two files, for a
// sentinel that is to find them there (TB_SOURCE=file:DIR): the storage initializer of KServe, a node's own copy, a
// machine without a net to the store.
//
// Only ciphertext is written, to any file system: a plaintext that nobody can take away again would outlive the
// contract. The licence is asked for all the same, as only its holder gets the signed URLs, and the key, by which every
// record is verified before the files get their names. The seat that this takes is given back at the end.
#pragma once

#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "sentinel/config.h"

namespace tb::sentinel {

/// Runs with the arguments after the verb: the URI, the directory, then settings as flags. What is there already, whole
/// and of this asset, is left as it is. An interrupted one goes on where it was. Returns the exit status; throws Error:
/// "config_invalid", those of Authorizer::authorize, of fetch_manifest, authenticate_manifest and Hydration,
/// "cancelled".
int fetch_command(const std::vector<std::string>& arguments, std::string_view version);

}  // namespace tb::sentinel
