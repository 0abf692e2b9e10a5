// What this program proves itself to Azure with: the storage account's key, or an identity that gets OAuth tokens
// (client secret, workload identity, managed identity). Nothing of it comes from argv: files of mode 0600 and the
// environment.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/json.h"
#include "base/result.h"
#include "base/secret.h"
#include "http/client.h"

namespace tb::azure {

/// Value of a variable of the environment.
using Environment = std::function<std::optional<std::string>(const std::string& name)>;

struct Credential {
  enum class Kind { kAccountKey, kClientSecret, kWorkloadIdentity, kManagedIdentity };
  Kind kind = Kind::kAccountKey;
  std::string
      file;  ///< of the account key ("{account}" stands for its name), the client secret, or the federated token
  std::shared_ptr<const SecretString>
      secret;  ///< of the client (or of App Service's identity endpoint), by environment
  std::string tenant_id, client_id;
  std::string authority;          ///< "https://login.microsoftonline.com"
  std::string identity_endpoint;  ///< of a managed identity, up to '?'
};

/// `key-file:PATH`; `client-secret` (AZURE_CLIENT_SECRET) or `client-secret-file:PATH`, and `workload-identity`
/// (AZURE_FEDERATED_TOKEN_FILE), both with AZURE_TENANT_ID and AZURE_CLIENT_ID; `managed-identity` or
/// `managed-identity:CLIENT_ID`. "config_invalid" with what is missing.
Result<Credential> parse_credential(std::string_view spec, const Environment& environment);

/// The account's key, its bytes. "store_unavailable" if the file cannot be read or holds no base64.
SecretString read_account_key(const Credential& credential, const std::string& account);

/// For what a token is wanted.
struct TokenAudience {
  std::string resource = "https://storage.azure.com";
  std::string_view unavailable = "store_unavailable";  ///< reason of the error when none can be had
};

struct AccessToken {
  SecretString text;
  std::int64_t life_ms = 0;  ///< from when it was given; 0 if the answer does not say
};

/// Asks for access tokens; not for kAccountKey. Thread-safe.
class TokenSource {
 public:
  TokenSource(Credential credential, const std::string& ca_path, TokenAudience audience = {});
  /// One exchange. Throws the audience's reason.
  SecretString fetch() { return fetch_dated().text; }
  AccessToken fetch_dated();

 private:
  http::ClientRequest request() const;
  Credential credential_;
  TokenAudience audience_;
  http::Client client_;
};

/// `access_token` of a token endpoint's answer, with its `expires_in`; nothing if it is none.
std::optional<AccessToken> parse_token_answer(std::string_view text);
/// What a bearer token may consist of; nothing if `value` is no such text.
std::optional<SecretString> bearer_token(const Json* value);

}  // namespace tb::azure
