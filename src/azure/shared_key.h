// Requests to the blob service signed with the account's key (learn.microsoft.com: authorize-with-shared-key, version
// 2015-02-21 and later). Pure.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/secret.h"
#include "http/message.h"

namespace tb::azure {

/// What of a request is signed.
struct ServiceRequest {
  std::string method;
  std::string path;  ///< as it is sent, percent-encoded, the account's name first for an emulator: "/container/blob"
  std::vector<std::pair<std::string, std::string>> query;  ///< decoded; names in lower case
  http::Headers headers;                                   ///< all but Authorization
  std::uint64_t body_bytes = 0;
};

/// `?name=value&…`, escaped; "" without parameters.
std::string query_text(const ServiceRequest& request);
std::string shared_key_string_to_sign(const std::string& account, const ServiceRequest& request);
/// The value of Authorization. `account_key`: its bytes.
SecretString shared_key(const std::string& account, const ServiceRequest& request, const SecretString& account_key);

}  // namespace tb::azure
