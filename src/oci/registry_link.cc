#include "oci/registry_link.h"

#include <fmt/format.h>

#include "base/clock.h"
#include "base/json.h"
#include "http/address.h"

namespace tb::oci {
namespace {

constexpr std::size_t kMaxTokenBytes = std::size_t{1} << 18;
constexpr std::size_t kMaxShownBytes = 300;
constexpr std::int64_t kTokenTimeoutMs = 30'000;

bool speaks_http(const Reference& place, bool insecure) {
  return insecure || http::is_loopback_host(place.host_name());
}

http::ClientConfig config_of(const Reference& place, const RegistryOptions& options, bool elsewhere) {
  http::ClientConfig config;
  config.ca_path = options.ca_path;
  config.user_agent = options.user_agent;
  const bool loopback = http::is_loopback_host(place.host_name());
  // Where the registry sends us to is its word: no metadata address, and this machine only from this machine.
  config.policy = elsewhere ? http::AddressPolicy::from_network(loopback, true, options.insecure)
                            : http::AddressPolicy::configured(options.insecure);
  return config;
}

// What a registry says of its refusal, for people: code and message of the first error, nothing that moves a terminal.
std::string story_of(const std::string& body) {
  const auto parsed = Json::parse(body);
  const Json* errors = parsed ? parsed->find("errors") : nullptr;
  if (errors == nullptr || !errors->is_array() || errors->as_array().empty()) return {};
  std::string out;
  for (const auto name : {"code", "message"}) {
    const Json* value = errors->as_array().front().find(name);
    if (value != nullptr && value->is_string()) out += (out.empty() ? ": " : " ") + value->as_string();
  }
  if (out.size() > kMaxShownBytes) out.resize(kMaxShownBytes);
  for (char& c : out) {
    if (static_cast<unsigned char>(c) < 0x20 || static_cast<unsigned char>(c) >= 0x7f) c = '?';
  }
  return out;
}

std::string origin_of(std::string_view url) {
  const std::size_t host = url.find("://");
  if (host == std::string_view::npos) return {};
  return std::string(url.substr(0, url.find_first_of("/?#", host + 3)));
}

SecretString basic(const RegistryLogin& login) {
  const SecretString pair(login.user + ":" + login.password.reveal());
  return SecretString("Basic " + to_base64(as_bytes(pair.reveal())));
}

}  // namespace

std::string escaped_query(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       std::string_view("-._~").find(c) != std::string_view::npos;
    if (plain) {
      out += c;
    } else {
      out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
  }
  return out;
}

RegistryLink::RegistryLink(const Reference& place, RegistryOptions options)
    : place_(place),
      options_(std::move(options)),
      origin_((speaks_http(place, options_.insecure) ? "http://" : "https://") + place.api_host()),
      client_(config_of(place, options_, false)),
      elsewhere_(config_of(place, options_, true)) {}

std::string RegistryLink::url(std::string_view rest) const {
  return fmt::format("{}/v2/{}/{}", origin_, place_.repository, rest);
}

bool RegistryLink::is_own(std::string_view url) const {
  return origin_of(url) == origin_;
}

std::string RegistryLink::absolute(std::string_view location) const {
  if (location.starts_with('/') && !location.starts_with("//")) return origin_ + std::string(location);
  const bool follows =
      location.starts_with("https://") || (location.starts_with("http://") && origin_.starts_with("http://"));
  if (!follows) throw Error("registry_refused", place_.registry + " sends us to what is no URL to follow");
  return std::string(location);
}

void RegistryLink::show(http::ClientRequest& request) const {
  if (!authorization_.empty()) request.headers.set("Authorization", authorization_.reveal());
}

http::ClientResponse RegistryLink::send_once(const Ask& ask, const http::Client::OnHead& on_head,
                                             const http::Client::Sink& sink) {
  const bool own = is_own(ask.url);
  for (int round = 0;; ++round) {
    http::ClientRequest request;
    request.method = ask.method;
    request.url = SecretUrl(ask.url);
    request.headers = ask.headers;
    request.max_answer_bytes = ask.max_answer_bytes;
    if (const auto* text = std::get_if<std::string>(&ask.body)) request.body = *text;
    if (const auto* file = std::get_if<http::FileRange>(&ask.body)) request.body = *file;
    if (own) show(request);
    http::Client& client = own ? client_ : elsewhere_;
    // The body of a challenge is not what was asked for.
    http::ClientResponse answer =
        sink ? client.fetch(
                   request,
                   [&](const http::ClientResponse& head) { return head.status != 401 && (!on_head || on_head(head)); },
                   sink)
             : client.send(request);
    if (answer.status != 401 || !own || round > 0) return answer;
    answer_challenge(answer);
  }
}

void RegistryLink::answer_challenge(const http::ClientResponse& answer) {
  const auto challenge = parse_challenge(answer.headers.get("WWW-Authenticate"));
  if (!challenge) throw Error("registry_refused", place_.registry + " asks for a proof that we do not know");
  if (!asked_login_ && options_.login) login_ = options_.login();
  asked_login_ = true;
  if (challenge->scheme == Challenge::Scheme::kBasic) {
    if (!login_ || login_->is_identity_token)
      throw Error("registry_denied", place_.registry + " asks for a user and a password");
    authorization_ = basic(*login_);
    return;
  }
  const SecretString token = fetch_token(*challenge);
  authorization_ = SecretString("Bearer " + token.reveal());
}

SecretString RegistryLink::fetch_token(const Challenge& challenge) {
  const std::string realm = absolute(challenge.realm);
  if (realm.find_first_of(" \t\r\n#") != std::string::npos)
    throw Error("registry_refused", "the token server's URL is refused");
  std::string query = "service=" + escaped_query(challenge.service);
  if (!challenge.scope.empty()) query += "&scope=" + escaped_query(challenge.scope);
  http::ClientRequest request;
  request.max_answer_bytes = kMaxTokenBytes;
  request.total_timeout_ms = kTokenTimeoutMs;
  if (login_ && login_->is_identity_token) {
    request.method = "POST";
    request.url = SecretUrl(realm);
    request.headers.set("Content-Type", "application/x-www-form-urlencoded");
    request.body = SecretString("grant_type=refresh_token&client_id=trustbridge&" + query +
                                "&refresh_token=" + escaped_query(login_->password.reveal()));
  } else {
    request.url = SecretUrl(realm + (realm.find('?') == std::string::npos ? "?" : "&") + query);
    if (login_) request.headers.set("Authorization", basic(*login_).reveal());
  }
  http::ClientResponse answer = (is_own(realm) ? client_ : elsewhere_).send(request);
  const SecretString body(std::move(answer.body));
  if (answer.status == 401 || answer.status == 403) {
    throw Error("registry_denied", fmt::format("the token server of {} answered {}", place_.registry, answer.status));
  }
  const auto parsed = Json::parse(body.reveal(), {.bytes = kMaxTokenBytes});
  for (const auto name : {"token", "access_token"}) {
    const Json* token = answer.status == 200 && parsed ? parsed->find(name) : nullptr;
    if (token == nullptr || !token->is_string() || token->as_string().empty()) continue;
    const std::string& value = token->as_string();
    if (value.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/=") ==
        std::string::npos) {
      return SecretString(value);
    }
  }
  if (http::is_retryable_status(answer.status)) {
    throw Error("network_unreachable",
                fmt::format("the token server of {} answered {}", place_.registry, answer.status));
  }
  throw Error("registry_refused",
              fmt::format("the token server of {} answered {} without a token", place_.registry, answer.status));
}

bool RegistryLink::wait(int attempt, const http::ClientResponse* answer) {
  std::optional<std::int64_t> wished_ms;
  if (answer != nullptr) {
    if (const std::string* field = answer->headers.find("Retry-After"))
      wished_ms = http::retry_after_ms(*field, unix_ms_now());
  }
  const auto delay_ms = async::next_delay(options_.retry, attempt, async::unit_random, wished_ms);
  if (!delay_ms) return false;
  if (options_.sleep) options_.sleep(*delay_ms);
  return true;
}

http::ClientResponse RegistryLink::send(Ask ask, const std::function<http::ClientBody()>& body) {
  for (int attempt = 1;; ++attempt) {
    if (body) ask.body = body();
    try {
      http::ClientResponse answer = send_once(ask);
      if (!http::is_retryable_status(answer.status)) return answer;
      if (!wait(attempt, &answer)) refuse(answer, "");
    } catch (const Error& error) {
      if (error.reason == "registry_unavailable" || !error.retryable()) throw;
      if (!wait(attempt, nullptr)) throw Error("registry_unavailable", place_.registry + " cannot be reached", error);
    }
  }
}

void RegistryLink::refuse(const http::ClientResponse& answer, std::string_view what) const {
  const std::string story =
      fmt::format("{} answered {}{}{}", place_.registry, answer.status, what.empty() ? "" : " to ", what) +
      story_of(answer.body);
  if (answer.status == 401 || answer.status == 403) throw Error("registry_denied", story);
  if (answer.status == 404) throw Error("image_not_found", story);
  if (http::is_retryable_status(answer.status)) throw Error("registry_unavailable", story);
  throw Error("registry_refused", story);
}

}  // namespace tb::oci
