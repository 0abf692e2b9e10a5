// POST /v1/<mount>/{encrypt,decrypt}/<key>: plaintext, ciphertext and associated_data as the published API has them.
//
// An answer's body is never quoted in an error: a KMS, or a proxy before it, may echo what it was sent.
#include "controlplane/transit_kek.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cctype>
#include <chrono>
#include <optional>
#include <thread>

#include "base/clock.h"
#include "base/fs.h"
#include "base/json.h"
#include "http/address.h"
#include "http/client.h"

namespace tb::controlplane {
namespace {

constexpr std::size_t kMaxAnswerBytes = 16384;
constexpr std::size_t kMaxWrappedBytes = 4096;
constexpr std::size_t kMaxTokenBytes = 8192;

bool plain_segments(std::string_view path) {
  while (!path.empty()) {
    const std::string_view part = path.substr(0, path.find('/'));
    const bool plain = !part.empty() && part != "." && part != ".." && std::ranges::all_of(part, [](unsigned char c) {
      return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
             c == '.';
    });
    if (!plain) return false;
    if (part.size() == path.size()) return true;
    path.remove_prefix(part.size() + 1);
  }
  return false;
}

/// A text member of `data`, moved out of the document, which is wiped with it.
SecretString take_member(Json& answer, std::string_view name) {
  if (!answer.is_object()) return {};
  for (auto& [outer, data] : answer.as_object()) {
    if (outer != "data" || !data.is_object()) continue;
    for (auto& [inner, value] : data.as_object()) {
      if (inner != name || !value.is_string()) continue;
      const std::string& text = value.as_string();
      SecretString out{std::string(text)};
      wipe(const_cast<char*>(text.data()), text.size());
      return out;
    }
  }
  return {};
}

class TransitKek final : public Kek {
 public:
  TransitKek(TransitSource source, const TransitPatience& patience)
      : Kek(transit_kek_id(source)),
        source_(std::move(source)),
        patience_(patience),
        client_({.ca_path = source_.ca_path,
                 .connect_timeout_ms = patience.connect_ms,
                 .stall_timeout_ms = patience.exchange_ms}) {}

  Bytes wrap(std::string_view context, const Secret<32>& key) const override {
    Json body = Json::object();
    body.set("plaintext", to_base64(key.reveal()));
    const SecretString text = ask("encrypt", std::move(body), context, "ciphertext");
    const std::string& ciphertext = text.reveal();
    if (ciphertext.size() > kMaxWrappedBytes)
      throw Error("kms_unavailable", "the KMS gave a ciphertext that is too long");
    const ByteView bytes = as_bytes(ciphertext);
    return {bytes.begin(), bytes.end()};
  }

  Secret<32> unwrap(std::string_view context, ByteView wrapped) const override {
    Json body = Json::object();
    body.set("ciphertext", as_text(wrapped));
    const SecretString text = ask("decrypt", std::move(body), context, "plaintext");
    auto bytes = from_base64(text.reveal());
    if (!bytes || bytes->size() != 32) throw Error("key_unwrap_failed", "the KMS gave something that is no key");
    Secret<32> key(std::span<const std::uint8_t, 32>(bytes->data(), 32));
    wipe(bytes->data(), bytes->size());
    return key;
  }

 private:
  SecretString ask(std::string_view verb, Json body, std::string_view context, std::string_view member) const {
    body.set("associated_data", to_base64(as_bytes(context)));
    const SecretString text(body.dump());
    for (Json::Member& one : body.as_object()) {
      if (one.second.is_string()) {
        wipe(const_cast<char*>(one.second.as_string().data()), one.second.as_string().size());
      }
    }
    const Visit visit(*this);
    for (int attempt = 1;; ++attempt) {
      std::optional<std::int64_t> asked_to_wait;
      try {
        SecretString value = ask_once(verb, text, member, asked_to_wait);
        answers_ = true;
        return value;
      } catch (const Error& error) {
        answers_ = error.reason != "kms_unavailable";
        if (error.reason != "kms_unavailable") throw;
        const auto wait = async::next_delay(patience_.backoff, attempt, async::unit_random, asked_to_wait);
        if (!wait) throw;
        std::this_thread::sleep_for(std::chrono::milliseconds(*wait));
      }
    }
  }

  /// While the KMS does not answer one request asks it and the others fail at once: else a dead KMS would hold every
  /// worker of the service, also those that need no key.
  class Visit {
   public:
    explicit Visit(const TransitKek& kek) : kek_(kek) {
      if (++kek_.visitors_ == 1 || kek_.answers_) return;
      --kek_.visitors_;
      throw Error("kms_unavailable", "the KMS does not answer");
    }
    ~Visit() { --kek_.visitors_; }
    Visit(const Visit&) = delete;
    Visit& operator=(const Visit&) = delete;

   private:
    const TransitKek& kek_;
  };

  SecretString ask_once(std::string_view verb, const SecretString& body, std::string_view member,
                        std::optional<std::int64_t>& asked_to_wait) const {
    http::ClientRequest request;
    request.method = "POST";
    request.url = SecretUrl(fmt::format("{}/v1/{}/{}/{}", source_.origin, source_.mount, verb, source_.key));
    request.headers.set("Content-Type", "application/json");
    request.headers.set("X-Vault-Request", "true");
    if (!source_.kms_namespace.empty()) request.headers.set("X-Vault-Namespace", source_.kms_namespace);
    request.bearer = token();
    request.body = body.clone();
    request.max_answer_bytes = kMaxAnswerBytes;
    request.total_timeout_ms = patience_.exchange_ms;
    http::ClientResponse answer = send(request);
    const SecretString text(std::move(answer.body));
    if (answer.status == 200) return member_of(text, member);
    if (const std::string* after = answer.headers.find("Retry-After")) {
      asked_to_wait = http::retry_after_ms(*after, unix_ms_now());
    }
    throw refusal(answer.status, verb);
  }

  http::ClientResponse send(const http::ClientRequest& request) const {
    try {
      return client_.send(request);
    } catch (const Error& error) {
      throw Error("kms_unavailable", "the KMS cannot be asked", error);
    }
  }

  SecretString token() const {
    try {
      const SecretString content = value_or_throw(read_secret_file(source_.token_file, kMaxTokenBytes));
      std::string_view text = content.reveal();
      while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.remove_suffix(1);
      const bool plain = !text.empty() && std::ranges::all_of(text, [](char c) { return c > 0x20 && c < 0x7f; });
      if (!plain) throw Error("config_invalid", source_.token_file + " holds no token");
      return SecretString(std::string(text));
    } catch (const Error& error) {
      throw Error("kms_refused", "the token for the KMS cannot be read", error);
    }
  }

  static SecretString member_of(const SecretString& text, std::string_view member) {
    auto answer = Json::parse(text.reveal(), {.bytes = kMaxAnswerBytes});
    SecretString value = answer ? take_member(*answer, member) : SecretString();
    if (value.empty()) throw Error("kms_unavailable", fmt::format("the KMS gave no {}", member));
    return value;
  }

  static Error refusal(int status, std::string_view verb) {
    if (status == 401 || status == 403) {
      return {"kms_refused", fmt::format("the KMS refuses to {}: {}", verb, status)};
    }
    // 400 is what a changed ciphertext gets, another context, and a key of that name that the KMS does not have.
    if (status == 400 && verb == "decrypt") {
      return {"key_unwrap_failed", "the KMS does not open the key: the row was changed, or is of another key"};
    }
    if (status == 400 || status == 404 || status == 405) {
      return {"kms_refused", fmt::format("the KMS cannot {} with this mount and key: {}", verb, status)};
    }
    return {"kms_unavailable", fmt::format("the KMS answered {}", status)};
  }

  const TransitSource source_;
  const TransitPatience patience_;
  mutable http::Client client_;
  mutable std::atomic<bool> answers_ = true;
  mutable std::atomic<int> visitors_ = 0;
};

}  // namespace

namespace {

/// A name or an address: letters, digits, hyphens, underscores and dots, no dot at either end, no two beside each
/// other; in brackets an IPv6 address.
bool is_plain_host(std::string_view host, bool bracket) {
  constexpr std::string_view kAddress = "0123456789abcdefABCDEF:.";
  if (host.empty()) return false;
  if (bracket) return host.find_first_not_of(kAddress) == std::string_view::npos;
  const bool plain = std::ranges::all_of(
      host, [](unsigned char c) { return c < 0x80 && (std::isalnum(c) != 0 || c == '-' || c == '_' || c == '.'); });
  return plain && host.front() != '.' && host.back() != '.' && host.find("..") == std::string_view::npos;
}

}  // namespace

Result<TransitSource> parse_transit(std::string_view url) {
  const bool plain_http = url.starts_with("http://");
  if (!plain_http && !url.starts_with("https://")) return fail("config_invalid", "must be https://host/mount/key");
  const std::size_t host_at = url.find("://") + 3;
  const std::size_t slash = url.find('/', host_at);
  const std::size_t last = url.rfind('/');
  if (slash == std::string_view::npos || last <= slash) {
    return fail("config_invalid", "must name mount and key, as in https://host:8200/transit/keyname");
  }
  TransitSource source{.origin = std::string(url.substr(0, slash)),
                       .mount = std::string(url.substr(slash + 1, last - slash - 1)),
                       .key = std::string(url.substr(last + 1))};
  const std::string_view authority = std::string_view(source.origin).substr(host_at);
  if (authority.empty() || authority.find_first_of("@?#\\ \"") != std::string_view::npos) {
    return fail("config_invalid", "must have a host, and no user");
  }
  if (!plain_segments(source.mount) || !plain_segments(source.key)) {
    return fail("config_invalid", "mount and key are letters, digits, hyphens, underscores and dots");
  }
  const bool bracket = authority.starts_with('[');
  const std::size_t host_end = authority.find(bracket ? ']' : ':');
  const std::string_view host = authority.substr(bracket ? 1 : 0, bracket ? host_end - 1 : host_end);
  const std::string_view after = authority.substr(
      std::min(authority.size(), host_end == std::string_view::npos ? authority.size() : host_end + (bracket ? 1 : 0)));
  const bool port_is_one = after.empty() || (after.size() > 1 && after.size() < 7 && after.front() == ':' &&
                                             after.find_first_not_of("0123456789", 1) == std::string_view::npos);
  if ((bracket && host_end == std::string_view::npos) || !is_plain_host(host, bracket) || !port_is_one) {
    return fail("config_invalid", "must be https://host or https://host:port before mount and key");
  }
  if (plain_http && !http::is_loopback_host(host)) {
    return fail("config_invalid", "must be https:// unless its host is this machine's loopback");
  }
  return source;
}

std::string transit_kek_id(const TransitSource& source) {
  std::string id = "transit:";
  if (!source.kms_namespace.empty()) id += source.kms_namespace + "/";
  return id + source.mount + "/" + source.key;
}

std::unique_ptr<Kek> open_transit_kek(TransitSource source, const TransitPatience& patience) {
  return std::make_unique<TransitKek>(std::move(source), patience);
}

}  // namespace tb::controlplane
