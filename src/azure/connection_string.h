// AZURE_STORAGE_CONNECTION_STRING: where an account's blobs are reached and what proves the right to
// (learn.microsoft.com: storage-configure-connection-string). Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/secret.h"

namespace tb::azure {

struct ConnectionString {
  std::string service_url;          ///< "https://account.blob.core.windows.net", without a slash at its end
  std::string account;              ///< "" if only a SAS and an endpoint of another form are given
  std::optional<SecretString> key;  ///< the account key's bytes
  std::optional<SecretString> sas;  ///< query without '?'
};

inline constexpr std::size_t kMaxConnectionStringBytes = 8192;

/// "config_invalid", naming a part but never its value.
Result<ConnectionString> parse_connection_string(std::string_view text);

/// A SAS as people paste it, with or without '?': at most 4 KiB of printable ASCII, with a `sig`, no '#'.
/// "config_invalid".
Result<SecretString> parse_sas(std::string_view text);

/// `se` of a SAS in Unix ms; nothing if it has none (a stored access policy has it) or none that can be read.
std::optional<std::int64_t> sas_end(std::string_view sas);

/// True for https://, and for http:// on this machine's loopback; no userinfo, query, fragment or slash at the end.
bool is_service_url(std::string_view url);
/// 3 to 24 lower-case letters and digits.
bool is_account_name(std::string_view name);

}  // namespace tb::azure
