// With what right this program writes into a storage account, chosen once, and each request signed with it.
//
// Without --auth the order is: what a flag names, then of the environment a connection string, an account key, a SAS, a
// client secret, a workload identity; then this machine's managed identity; then whoever is logged in with az. Only the
// last two are tried; of the others the first that is given is used, and a fault of it is not covered up by a later
// one.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "azure/az_command.h"
#include "azure/credential.h"
#include "azure/shared_key.h"
#include "base/clock.h"
#include "http/client.h"

namespace tb::azure {

/// What was given by flags; "" is not given.
struct AccessFlags {
  std::string auth;              ///< of kAuthNames, or "" for the order above
  std::string account_key_file;  ///< base64 on its first line, 0600
  std::string sas_file;          ///< 0600
  std::string account;
  std::string endpoint;  ///< "{account}" in host or path; "" of the public cloud, or as the connection string says
  std::string ca_path;
};
inline constexpr const char* kAuthNames[] = {"connection-string", "key", "sas", "client-secret", "workload-identity",
                                             "managed-identity",  "az"};

/// Tokens kept while they last, asked anew before their end. Thread-safe.
class Tokens {
 public:
  using Fetch = std::function<AccessToken()>;
  explicit Tokens(Fetch fetch, Clock boot_clock = boot_ms_now)
      : fetch_(std::move(fetch)), clock_(std::move(boot_clock)) {}
  /// Good for five minutes more, or half its life if that is less. Throws what the fetch throws.
  SecretString current();
  /// Asks for another one unless `refused` is not the current one any more.
  void renew(const SecretString& refused);

 private:
  void fetch_now();
  Fetch fetch_;
  Clock clock_;
  std::mutex mutex_;
  std::optional<SecretString> token_;
  std::int64_t until_ = 0;
};

class StoreAccess {
 public:
  /// Throws "usage" (a name or a flag that cannot stand), "config_invalid", "credential_unavailable", the errors of
  /// reading a secret's file, and "url_expired" for a SAS whose end has passed.
  static std::unique_ptr<StoreAccess> choose(const AccessFlags& flags, const Environment& environment);

  const std::string& service_url() const { return service_url_; }
  const std::string& account() const { return account_; }
  const std::string& ca_path() const { return ca_path_; }
  /// For messages: "the account key of AZURE_STORAGE_KEY".
  const std::string& how() const { return how_; }

  /// Completes a request to `service_url() + path`: URL, x-ms-date, x-ms-version and its proof. `request.headers` are
  /// what was given so far. Throws as Tokens::current(), and "url_expired".
  void authorize(const ServiceRequest& described, http::ClientRequest& request);
  /// After a 401: true if there is another token to try with.
  bool renew(const http::ClientRequest& refused);

 private:
  StoreAccess() = default;
  struct Choice;
  bool take_given(const AccessFlags& flags, const Environment& environment, const std::string& auth);
  void try_machine(const AccessFlags& flags, const Environment& environment, const std::string& auth);
  void use_tokens(Tokens::Fetch fetch, std::string how);
  void require_sas_lives() const;

  std::string service_url_, account_, ca_path_, how_;
  std::optional<SecretString> key_, sas_;
  std::unique_ptr<Tokens> tokens_;
};

}  // namespace tb::azure
