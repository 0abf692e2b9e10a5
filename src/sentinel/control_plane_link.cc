#include "sentinel/control_plane_link.h"

#include <algorithm>

#include "base/clock.h"
#include "base/fs.h"
#include "jose/proof.h"

namespace tb::sentinel {
namespace {

constexpr std::size_t kMaxAnswerBytes = std::size_t{1} << 20;
constexpr std::size_t kMaxTokenFileBytes = 8192;

std::string_view line_of(std::string_view text, int number) {
  for (; number > 0; --number) text.remove_prefix(std::min(text.find('\n'), text.size() - 1) + 1);
  return text.substr(0, text.find_first_of("\r\n"));
}

}  // namespace

std::string problem_code(std::string_view body) {
  const auto json = Json::parse(body, {.bytes = kMaxAnswerBytes, .depth = 8});
  const Json* code = json ? json->find("code") : nullptr;
  return code != nullptr && code->is_string() ? code->as_string() : std::string();
}

ControlPlaneLink::ControlPlaneLink(std::string endpoint, std::string token_file, std::optional<Ed25519PublicKey> pinned,
                                   const jose::PrivateKey& key, Send send)
    : endpoint_(std::move(endpoint)),
      token_file_(std::move(token_file)),
      pinned_(pinned),
      key_(key),
      send_(std::move(send)) {}

std::optional<SecretString> ControlPlaneLink::token() const {
  if (token_file_.empty()) return std::nullopt;
  const SecretString content = value_or_throw(read_secret_file(token_file_, kMaxTokenFileBytes));
  return SecretString(std::string(line_of(content.reveal(), 0)));
}

std::optional<Ed25519PublicKey> ControlPlaneLink::pinned_key() const {
  if (pinned_ || token_file_.empty()) return pinned_;
  const SecretString content = value_or_throw(read_secret_file(token_file_, kMaxTokenFileBytes));
  if (content.empty()) return std::nullopt;
  std::string_view line = line_of(content.reveal(), 1);
  if (!line.starts_with(kPinnedKeyMark)) return std::nullopt;
  line.remove_prefix(kPinnedKeyMark.size());
  const auto raw = from_base64url(line);
  if (!raw || raw->size() != 32) {
    throw Error("public_key_malformed", token_file_ + " has a control plane's key that is none in its second line");
  }
  Ed25519PublicKey key{};
  std::ranges::copy(*raw, key.begin());
  return key;
}

std::int64_t ControlPlaneLink::server_unix_ms() const {
  return has_offset_ ? boot_ms_now() + offset_ms_ : unix_ms_now();
}

std::int64_t ControlPlaneLink::anchored_unix_ms() const {
  const std::int64_t offset = seen_offset_ms_;
  return offset == 0 ? unix_ms_now() : boot_ms_now() + offset;
}

bool ControlPlaneLink::take_time_of(const http::ClientResponse& response) const {
  const auto date = http::retry_after_ms(response.headers.get("date"), 0);
  if (!date) return false;
  offset_ms_ = *date - boot_ms_now();
  has_offset_ = true;
  return true;
}

ControlPlaneLink::Answer ControlPlaneLink::send(http::ClientRequest request, const std::string& target) const {
  request.url = SecretUrl(endpoint_ + target);
  request.headers.set("Accept", "application/json");
  request.max_answer_bytes = kMaxAnswerBytes;
  request.bearer = token();
  for (int attempt = 0;; ++attempt) {
    Answer answer{.response = {}, .proof_jti = random_token(16)};
    request.headers.set("DPoP", jose::sign_proof(key_, {.method = request.method,
                                                        .url = endpoint_ + target,
                                                        .issued_at_seconds = server_unix_ms() / 1000,
                                                        .jti = answer.proof_jti,
                                                        .token = request.bearer ? request.bearer->reveal() : ""}));
    answer.response = send_(request);
    if (const auto date = http::retry_after_ms(answer.response.headers.get("date"), 0)) {
      seen_offset_ms_ = *date - boot_ms_now();
    }
    const bool stale = answer.response.status == 401 && problem_code(answer.response.body) == "proof_stale";
    if (!stale || attempt > 0 || !take_time_of(answer.response)) return answer;
  }
}

ControlPlaneLink::Answer ControlPlaneLink::post(const std::string& target, const Json& body,
                                                std::stop_token stop) const {
  return post_text(target, body.dump(), "application/json", 0, std::move(stop));
}

ControlPlaneLink::Answer ControlPlaneLink::post_text(const std::string& target, std::string body,
                                                     const std::string& content_type, std::int64_t total_ms,
                                                     std::stop_token stop) const {
  http::ClientRequest request;
  request.method = "POST";
  request.headers.set("Content-Type", content_type);
  request.body = std::move(body);
  request.total_timeout_ms = total_ms;
  request.stop = std::move(stop);
  return send(std::move(request), target);
}

ControlPlaneLink::Answer ControlPlaneLink::get(const std::string& target, std::stop_token stop) const {
  http::ClientRequest request;
  request.method = "GET";
  request.stop = std::move(stop);
  return send(std::move(request), target);
}

}  // namespace tb::sentinel
