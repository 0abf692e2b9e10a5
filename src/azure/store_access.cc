#include "azure/store_access.h"

#include <fmt/format.h>

#include <algorithm>

#include "azure/connection_string.h"
#include "azure/sas.h"
#include "azure/tenant_stores.h"
#include "base/bytes.h"
#include "base/fs.h"
#include "http/response_head.h"

namespace tb::azure {
namespace {

constexpr std::int64_t kEarlyMs = 5 * 60 * 1000;
/// Of a token whose answer does not say.
constexpr std::int64_t kUnknownLifeMs = 10 * 60 * 1000;
constexpr std::string_view kAccount = "{account}";
constexpr std::size_t kMaxSecretFileBytes = 16384;

SecretString secret_file(const std::string& path) {
  return value_or_throw(read_secret_file(path, kMaxSecretFileBytes));
}

SecretString key_bytes(const SecretString& text, const std::string& from) {
  std::string_view line = text.reveal();
  line = line.substr(0, line.find_first_of("\r\n"));
  auto key = from_base64(line);
  if (!key || key->empty()) throw Error("config_invalid", from + " does not hold the base64 of an account key");
  SecretString out{std::string(as_text(*key))};
  wipe(key->data(), key->size());
  return out;
}

/// The path of a URL, "" for a host alone.
std::string path_of(const std::string& service_url) {
  const std::size_t slash = service_url.find('/', service_url.find("://") + 3);
  return slash == std::string::npos ? "" : service_url.substr(slash);
}

}  // namespace

SecretString Tokens::current() {
  const std::lock_guard lock(mutex_);
  if (!token_ || clock_() >= until_) fetch_now();
  return token_->clone();
}

void Tokens::renew(const SecretString& refused) {
  const std::lock_guard lock(mutex_);
  if (token_ && equal_constant_time(as_bytes(token_->reveal()), as_bytes(refused.reveal()))) fetch_now();
}

void Tokens::fetch_now() {
  const std::int64_t asked = clock_();
  AccessToken fresh = fetch_();
  const std::int64_t life = fresh.life_ms > 0 ? fresh.life_ms : kUnknownLifeMs;
  until_ = asked + std::max(life - kEarlyMs, life / 2);
  token_ = std::move(fresh.text);
}

std::unique_ptr<StoreAccess> StoreAccess::choose(const AccessFlags& flags, const Environment& environment) {
  std::unique_ptr<StoreAccess> access(new StoreAccess());
  access->ca_path_ = flags.ca_path;
  access->account_ = flags.account;
  std::string auth = flags.auth == "auto" ? "" : flags.auth;
  if (!auth.empty() && std::ranges::find(kAuthNames, auth) == std::end(kAuthNames)) {
    throw Error("usage", fmt::format("--auth must be auto or one of {}", fmt::join(kAuthNames, ", ")));
  }
  if (!flags.account_key_file.empty() && !flags.sas_file.empty()) {
    throw Error("usage", "one of --account-key-file and --sas-file at most");
  }
  if (auth.empty() && !flags.account_key_file.empty()) auth = "key";
  if (auth.empty() && !flags.sas_file.empty()) auth = "sas";
  if (!access->take_given(flags, environment, auth)) access->try_machine(flags, environment, auth);

  if (!flags.endpoint.empty() || access->service_url_.empty()) {
    std::string url = flags.endpoint.empty() ? std::string(kEndpoint) : flags.endpoint;
    const std::size_t at = url.find(kAccount);
    if (at == std::string::npos) throw Error("usage", "--endpoint must have {account} in it");
    if (!is_account_name(access->account_)) {
      throw Error("usage", "--storage-account must be the account's name: 3 to 24 lower-case letters and digits");
    }
    url.replace(at, kAccount.size(), access->account_);
    while (url.ends_with('/')) url.pop_back();
    if (!is_service_url(url)) {
      throw Error("usage", "--endpoint must be an https:// URL (http:// on this machine's loopback only)");
    }
    access->service_url_ = url;
  }
  access->require_sas_lives();
  return access;
}

bool StoreAccess::take_given(const AccessFlags& flags, const Environment& environment, const std::string& auth) {
  const auto variable = [&](const char* name) { return environment(name).value_or(""); };
  const auto wanted = [&](std::string_view name) { return auth.empty() || auth == name; };
  const auto missing = [](std::string_view what) -> Error { return {"config_invalid", std::string(what)}; };

  if (wanted("connection-string")) {
    const SecretString text(variable("AZURE_STORAGE_CONNECTION_STRING"));
    if (!text.empty()) {
      auto parsed = parse_connection_string(text.reveal());
      if (!parsed) {
        throw Error(parsed.error().reason, "AZURE_STORAGE_CONNECTION_STRING: " + parsed.error().message);
      }
      if (!account_.empty() && !parsed->account.empty() && account_ != parsed->account) {
        throw Error("usage",
                    fmt::format("the connection string is of the account {}, not {}", parsed->account, account_));
      }
      if (account_.empty()) account_ = parsed->account;
      service_url_ = parsed->service_url;
      // A key serves everything, also where a SAS stands beside it.
      if (parsed->key) {
        key_ = std::move(parsed->key);
      } else {
        sas_ = std::move(parsed->sas);
      }
      how_ = "the connection string of AZURE_STORAGE_CONNECTION_STRING";
      return true;
    }
    if (!auth.empty()) throw missing("--auth connection-string needs AZURE_STORAGE_CONNECTION_STRING");
  }
  if (wanted("key")) {
    if (!flags.account_key_file.empty()) {
      key_ = key_bytes(secret_file(flags.account_key_file), flags.account_key_file);
      how_ = "the account key of " + flags.account_key_file;
      return true;
    }
    if (const SecretString text(variable("AZURE_STORAGE_KEY")); !text.empty()) {
      key_ = key_bytes(text, "AZURE_STORAGE_KEY");
      how_ = "the account key of AZURE_STORAGE_KEY";
      return true;
    }
    if (!auth.empty()) throw missing("--auth key needs --account-key-file or AZURE_STORAGE_KEY");
  }
  if (wanted("sas")) {
    const bool by_file = !flags.sas_file.empty();
    const SecretString text = by_file ? secret_file(flags.sas_file) : SecretString(variable("AZURE_STORAGE_SAS_TOKEN"));
    if (!text.empty()) {
      const std::string from = by_file ? flags.sas_file : "AZURE_STORAGE_SAS_TOKEN";
      auto parsed = parse_sas(text.reveal());
      if (!parsed) throw Error(parsed.error().reason, from + ": " + parsed.error().message);
      sas_ = std::move(*parsed);
      how_ = "the SAS of " + from;
      return true;
    }
    if (by_file || !auth.empty()) throw missing("--auth sas needs --sas-file or AZURE_STORAGE_SAS_TOKEN");
  }
  for (const auto& [name, sign] : {std::pair{"client-secret", "AZURE_CLIENT_SECRET"},
                                   std::pair{"workload-identity", "AZURE_FEDERATED_TOKEN_FILE"}}) {
    if (!wanted(name) || (auth.empty() && variable(sign).empty())) continue;
    auto parsed = parse_credential(name, environment);
    if (!parsed) throw missing(fmt::format("the credential {} {}", name, parsed.error().message));
    const auto source = std::make_shared<TokenSource>(std::move(*parsed), ca_path_,
                                                      TokenAudience{.unavailable = "credential_unavailable"});
    use_tokens([source] { return source->fetch_dated(); }, fmt::format("the credential {}", name));
    return true;
  }
  return false;
}

void StoreAccess::try_machine(const AccessFlags&, const Environment& environment, const std::string& auth) {
  std::string story;
  const auto attempt = [&](const char* name, const Tokens::Fetch& fetch) {
    if (!auth.empty() && auth != name) return false;
    use_tokens(fetch, fmt::format("the credential {}", name));
    try {
      tokens_->current();
      return true;
    } catch (const Error& error) {
      if (!auth.empty()) throw;
      story += fmt::format("; {}: {}", name, error.message);
      return false;
    }
  };
  const auto managed = [environment]() -> AccessToken {
    // A user-assigned identity is named as Azure's own libraries have it named.
    const std::string client_id = environment("AZURE_CLIENT_ID").value_or("");
    auto parsed =
        parse_credential(client_id.empty() ? "managed-identity" : "managed-identity:" + client_id, environment);
    if (!parsed) throw Error("config_invalid", "the credential managed-identity " + parsed.error().message);
    TokenSource source(std::move(*parsed), "", {.unavailable = "credential_unavailable"});
    return source.fetch_dated();
  };
  if (attempt("managed-identity", managed)) return;
  const AzCommand az{.tenant = environment("AZURE_TENANT_ID").value_or("")};
  if (attempt("az", [az] { return az_token(az); })) return;
  throw Error("credential_unavailable", "no credential for the storage account was found" + story)
      .with_hint("docs/upload.md says how each credential is given; --auth chooses one");
}

void StoreAccess::use_tokens(Tokens::Fetch fetch, std::string how) {
  tokens_ = std::make_unique<Tokens>(std::move(fetch));
  how_ = std::move(how);
}

void StoreAccess::require_sas_lives() const {
  if (!sas_) return;
  const auto end = sas_end(sas_->reveal());
  if (end && *end <= unix_ms_now()) {
    throw Error("url_expired", fmt::format("{} has ended at {}", how_, to_rfc3339(*end)))
        .with_hint("make a new SAS that may read, create and write (sp=rcw)");
  }
}

void StoreAccess::authorize(const ServiceRequest& described, http::ClientRequest& request) {
  ServiceRequest signed_part = described;
  signed_part.path = path_of(service_url_) + described.path;
  signed_part.headers.set("x-ms-version", kServiceVersion);
  signed_part.headers.set("x-ms-date", http::http_date(unix_ms_now()));
  request.method = described.method;
  request.headers = signed_part.headers;
  std::string url = service_url_ + described.path + query_text(described);
  if (key_) {
    request.headers.set("Authorization", shared_key(account_, signed_part, *key_).reveal());
  } else if (sas_) {
    require_sas_lives();
    url += (described.query.empty() ? "?" : "&") + sas_->reveal();
  } else {
    request.bearer = tokens_->current();
  }
  request.url = SecretUrl(std::move(url));
}

bool StoreAccess::renew(const http::ClientRequest& refused) {
  if (!tokens_ || !refused.bearer) return false;
  tokens_->renew(*refused.bearer);
  return true;
}

}  // namespace tb::azure
