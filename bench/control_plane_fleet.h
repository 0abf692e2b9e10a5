// What the load benchmark of the control plane works on: one in this process, without sockets, and a fleet of sentinels
// with keys and leases of their own. Requests are made ahead, so that nothing of theirs is measured.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "bench/http_load.h"
#include "controlplane/admin.h"
#include "controlplane/routes.h"
#include "jose/p256.h"

namespace tb::bench {

/// One request of a sentinel.
struct Call {
  std::string token, proof, body;
  /// As bytes for a server.
  std::string to_http(const std::string& host) const;
};

inline constexpr std::string_view kAuthorizePath = "/api/v1/license/authorize";

/// The control plane without HTTP: the same routes, handlers, store and keys.
class InProcess {
 public:
  /// `flags`: as on the command line.
  explicit InProcess(const std::map<std::string, std::string>& flags);
  /// Throws if it is not answered with `status`.
  std::string call(std::string_view method, std::string_view path, const std::string& token, std::string body,
                   int status, const std::string& proof = "");
  std::string provider_token(const std::string& tenant);

 private:
  controlplane::Config config_;
  std::unique_ptr<store::Store> store_;
  controlplane::Keyring keyring_;
  controlplane::BlobFiles blobs_;
  controlplane::PublicUrl public_url_;
  controlplane::HintBoard hints_;
  obs::Metrics metrics_;
  controlplane::RateLimits rate_limits_;
  attest::Trust attestation_trust_;
  controlplane::Deps deps_;
  http::Router router_;
};

/// `calls`, each once, by that many threads: what the server would do, without it.
Load call_all(InProcess& plane, const std::vector<Call>& calls, std::size_t threads,
              const std::function<void(std::size_t index, std::string_view body)>& on_answer);

struct FleetOptions {
  std::size_t contracts = 64;
  int lease_seconds = 300;
};

class Fleet {
 public:
  /// Registers an asset and contracts with `plane`.
  Fleet(InProcess& plane, const FleetOptions& options);

  /// That many new sentinels ask for a seat, each with a one-time key, at a control plane whose base is `base_url`.
  std::vector<Call> authorize(std::size_t count, const std::string& base_url);
  /// All of the newest authorize() renew, without asking for the key again. Good for the 90 seconds that follow.
  std::vector<Call> renew(const std::string& base_url) const;
  /// What call number `index` of the newest authorize() or renew() was answered.
  void take_answer(std::size_t index, std::string_view body);

 private:
  struct Sentinel {
    std::shared_ptr<const jose::PrivateKey> key;
    std::size_t contract = 0;
    std::string lease_id, renewal_token;
  };
  Call renewal_of(std::size_t index, const std::string& base_url) const;
  std::string proof_of(const Sentinel& sentinel, const std::string& base_url) const;

  std::vector<std::string> activation_tokens_;  ///< by contract
  std::vector<Sentinel> sentinels_;
};

}  // namespace tb::bench
