// One exchange with a registry: its origin, the proof of who we are, and another attempt where that can help. Internal
// to oci/.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "http/client.h"
#include "oci/challenge.h"
#include "oci/registry.h"

namespace tb::oci {

class RegistryLink {
 public:
  RegistryLink(const Reference& place, RegistryOptions options);

  const RegistryOptions& options() const { return options_; }
  const std::string& repository() const { return place_.repository; }
  /// "/v2/<repository>/<rest>" at the registry.
  std::string url(std::string_view rest) const;
  /// What a Location says, made absolute. Throws "registry_refused" for what is no URL to follow.
  std::string absolute(std::string_view location) const;
  bool is_own(std::string_view url) const;

  struct Ask {
    std::string method = "GET";
    std::string url;
    http::Headers headers;
    http::ClientBody body;
    std::uint64_t max_answer_bytes = kMaxDocumentBytes;
  };
  /// Makes the exchange; a challenge is answered once. No other attempts.
  http::ClientResponse send_once(const Ask& ask, const http::Client::OnHead& on_head = {},
                                 const http::Client::Sink& sink = {});
  /// With other attempts after network faults, 429 and 5xx; then "registry_unavailable". `body` is made for each.
  http::ClientResponse send(Ask ask, const std::function<http::ClientBody()>& body = {});
  /// Waits before attempt `attempt` + 1; false if that was the last.
  bool wait(int attempt, const http::ClientResponse* answer);

  [[noreturn]] void refuse(const http::ClientResponse& answer, std::string_view what) const;

 private:
  void show(http::ClientRequest& request) const;
  void answer_challenge(const http::ClientResponse& answer);
  SecretString fetch_token(const Challenge& challenge);

  Reference place_;
  RegistryOptions options_;
  std::string origin_;
  http::Client client_, elsewhere_;
  bool asked_login_ = false;
  std::optional<RegistryLogin> login_;
  std::optional<Challenge> challenge_;
  SecretString authorization_;  ///< the whole field's value
};

/// Percent-encoded for a query.
std::string escaped_query(std::string_view text);

}  // namespace tb::oci
