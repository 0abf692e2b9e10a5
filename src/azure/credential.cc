// Parsing of the setting, and the three exchanges.
#include "azure/credential.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "azure/sas.h"
#include "base/fs.h"
#include "base/json.h"
#include "http/address.h"

namespace tb::azure {
namespace {

constexpr std::size_t kMaxAnswerBytes = 65536;
constexpr std::size_t kMaxTokenBytes = 32768;

bool is_plain_id(std::string_view text) {
  return !text.empty() && text.size() <= 128 && std::ranges::all_of(text, [](unsigned char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
           c == '_';
  });
}

bool is_safe_origin(std::string_view url) {
  if (url.find_first_of("?#@ \"") != std::string_view::npos) return false;
  if (url.starts_with("https://")) return true;
  if (!url.starts_with("http://")) return false;
  const std::string_view authority = url.substr(7);
  const std::string_view host = authority.substr(0, authority.find_first_of(":/"));
  return http::is_loopback_host(host);
}

Result<> take_identity(Credential& credential, const Environment& environment) {
  credential.tenant_id = environment("AZURE_TENANT_ID").value_or("");
  credential.client_id = environment("AZURE_CLIENT_ID").value_or("");
  if (!is_plain_id(credential.tenant_id) || !is_plain_id(credential.client_id)) {
    return fail("config_invalid", "needs AZURE_TENANT_ID and AZURE_CLIENT_ID");
  }
  credential.authority = environment("AZURE_AUTHORITY_HOST").value_or("https://login.microsoftonline.com");
  while (credential.authority.ends_with('/')) credential.authority.pop_back();
  if (!is_safe_origin(credential.authority)) return fail("config_invalid", "AZURE_AUTHORITY_HOST must be https://");
  return {};
}

/// Of a virtual machine, or (IDENTITY_ENDPOINT) of App Service and Container Apps.
Result<> take_managed(Credential& credential, const Environment& environment) {
  if (const auto endpoint = environment("IDENTITY_ENDPOINT"); endpoint && !endpoint->empty()) {
    auto header = environment("IDENTITY_HEADER");
    if (!header || header->empty()) return fail("config_invalid", "needs IDENTITY_HEADER beside IDENTITY_ENDPOINT");
    credential.identity_endpoint = *endpoint;
    credential.secret = std::make_shared<const SecretString>(std::move(*header));
    return {};
  }
  std::string host = environment("AZURE_POD_IDENTITY_AUTHORITY_HOST").value_or("http://169.254.169.254");
  while (host.ends_with('/')) host.pop_back();
  credential.identity_endpoint = host + "/metadata/identity/oauth2/token";
  return {};
}

SecretString secret_line(const std::string& path) {
  const SecretString content = value_or_throw(read_secret_file(path, kMaxTokenBytes));
  std::string_view text = content.reveal();
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.remove_suffix(1);
  return SecretString(std::string(text));
}

}  // namespace

Result<Credential> parse_credential(std::string_view spec, const Environment& environment) {
  Credential credential;
  const std::string_view kind = spec.substr(0, spec.find(':'));
  const std::string rest(spec.substr(std::min(spec.size(), kind.size() + 1)));
  if (kind == "key-file" && rest.starts_with('/')) {
    credential.file = rest;
    return credential;
  }
  if (kind == "managed-identity") {
    credential.kind = Credential::Kind::kManagedIdentity;
    credential.client_id = rest;
    if (!rest.empty() && !is_plain_id(rest)) return fail("config_invalid", "names no client id");
    TRY(take_managed(credential, environment));
    return credential;
  }
  if (spec == "workload-identity") {
    credential.kind = Credential::Kind::kWorkloadIdentity;
    credential.file = environment("AZURE_FEDERATED_TOKEN_FILE").value_or("");
    if (credential.file.empty()) return fail("config_invalid", "needs AZURE_FEDERATED_TOKEN_FILE");
  } else if (spec == "client-secret") {
    credential.kind = Credential::Kind::kClientSecret;
    auto secret = environment("AZURE_CLIENT_SECRET");
    if (!secret || secret->empty()) return fail("config_invalid", "needs AZURE_CLIENT_SECRET");
    credential.secret = std::make_shared<const SecretString>(std::move(*secret));
  } else if (kind == "client-secret-file" && rest.starts_with('/')) {
    credential.kind = Credential::Kind::kClientSecret;
    credential.file = rest;
  } else {
    return fail(
        "config_invalid",
        "must be key-file:/PATH, client-secret, client-secret-file:/PATH, workload-identity or managed-identity");
  }
  TRY(take_identity(credential, environment));
  return credential;
}

SecretString read_account_key(const Credential& credential, const std::string& account) {
  std::string path = credential.file;
  if (const std::size_t at = path.find("{account}"); at != std::string::npos) path.replace(at, 9, account);
  try {
    const SecretString line = secret_line(path);
    Bytes key = value_or_throw(from_base64(line.reveal()));
    if (key.empty()) throw Error("bad_base64", "the account key is empty");
    SecretString out{std::string(as_text(key))};
    wipe(key.data(), key.size());
    return out;
  } catch (const Error& error) {
    throw Error("store_unavailable", "the key of the storage account cannot be read from " + path, error);
  }
}

std::optional<SecretString> bearer_token(const Json* value) {
  if (value == nullptr || !value->is_string() || value->as_string().empty()) return std::nullopt;
  const std::string& text = value->as_string();
  if (!std::ranges::all_of(text, [](char c) { return c > 0x20 && c < 0x7f; })) return std::nullopt;
  return SecretString(text);
}

std::optional<AccessToken> parse_token_answer(std::string_view text) {
  const auto answer = Json::parse(text, {.bytes = kMaxAnswerBytes});
  auto token = answer ? bearer_token(answer->find("access_token")) : std::nullopt;
  if (!token) return std::nullopt;
  // A number, or its digits as a text: the metadata service writes them so.
  std::int64_t life_s = 0;
  if (const Json* in = answer->find("expires_in"); in != nullptr && in->is_integer()) {
    life_s = in->as_integer();
  } else if (in != nullptr && in->is_string()) {
    std::from_chars(in->as_string().data(), in->as_string().data() + in->as_string().size(), life_s);
  }
  return AccessToken{std::move(*token), std::clamp<std::int64_t>(life_s, 0, 7 * 24 * 3600) * 1000};
}

TokenSource::TokenSource(Credential credential, const std::string& ca_path, TokenAudience audience)
    : credential_(std::move(credential)),
      audience_(std::move(audience)),
      // The metadata address is plain HTTP by its nature, and never behind a proxy.
      client_(credential_.kind == Credential::Kind::kManagedIdentity
                  ? http::ClientConfig{.policy = http::AddressPolicy::configured(true),
                                       .connect_timeout_ms = 1000,
                                       .use_proxy_environment = false}
                  : http::ClientConfig{.ca_path = ca_path, .connect_timeout_ms = 3000}) {}

http::ClientRequest TokenSource::request() const {
  http::ClientRequest request;
  if (credential_.kind == Credential::Kind::kManagedIdentity) {
    std::string query = fmt::format("?api-version={}&resource={}", credential_.secret ? "2019-08-01" : "2018-02-01",
                                    escaped(audience_.resource));
    if (!credential_.client_id.empty()) query += "&client_id=" + escaped(credential_.client_id);
    request.url = SecretUrl(credential_.identity_endpoint + query);
    if (credential_.secret) {
      request.headers.set("X-IDENTITY-HEADER", credential_.secret->reveal());
    } else {
      request.headers.set("Metadata", "true");
    }
    return request;
  }
  std::string form = fmt::format("grant_type=client_credentials&client_id={}&scope={}", escaped(credential_.client_id),
                                 escaped(audience_.resource + "/.default"));
  if (credential_.kind == Credential::Kind::kWorkloadIdentity) {
    // Written by the platform with a mode of its own, and renewed there: read each time.
    const SecretString token(value_or_throw(read_small_file(credential_.file, kMaxTokenBytes)));
    std::string_view text = token.reveal();
    while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.remove_suffix(1);
    form += "&client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer&client_assertion=";
    form += escaped(text);
  } else {
    form += "&client_secret=" +
            escaped(credential_.secret ? credential_.secret->reveal() : secret_line(credential_.file).reveal());
  }
  request.method = "POST";
  request.url = SecretUrl(fmt::format("{}/{}/oauth2/v2.0/token", credential_.authority, credential_.tenant_id));
  request.headers.set("Content-Type", "application/x-www-form-urlencoded");
  request.body = SecretString(std::move(form));
  return request;
}

AccessToken TokenSource::fetch_dated() {
  try {
    http::ClientRequest asked = request();
    asked.max_answer_bytes = kMaxAnswerBytes;
    asked.total_timeout_ms = 10'000;
    http::ClientResponse answer = client_.send(asked);
    const SecretString body(std::move(answer.body));
    if (answer.status != 200)
      throw Error(audience_.unavailable, fmt::format("the token endpoint answered {}", answer.status));
    auto token = parse_token_answer(body.reveal());
    if (!token) throw Error(audience_.unavailable, "the token endpoint gave no access_token");
    return std::move(*token);
  } catch (const Error& error) {
    throw Error(audience_.unavailable, "no access token for " + audience_.resource + " can be had", error);
  }
}

}  // namespace tb::azure
