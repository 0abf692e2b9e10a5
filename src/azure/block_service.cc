#include "azure/block_service.h"

#include <fmt/format.h>

#include <charconv>

#include "async/stop.h"
#include "base/clock.h"

namespace tb::azure {
namespace {

constexpr const char* kSha256Field = "x-ms-meta-sha256";

const BlockService::Body kNoBody = [] { return http::ClientBody(); };

std::optional<std::int64_t> wished_wait(const http::ClientResponse& answer) {
  const std::string* after = answer.headers.find("Retry-After");
  return after == nullptr ? std::nullopt : http::retry_after_ms(*after, unix_ms_now());
}

bool is_worth_another(const http::ClientResponse& answer) {
  return http::is_retryable_status(answer.status) || answer.status == 408;
}

bool is_sha256(std::string_view text) {
  return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

/// Without a code it is the answer to HEAD of a store that leaves them out.
bool is_absent(const http::ClientResponse& answer) {
  const std::string code = fault_code(answer);
  return answer.status == 404 && (code.empty() || code == "BlobNotFound");
}

std::uint64_t length_of(const http::ClientResponse& answer) {
  const std::string_view text = answer.headers.get("Content-Length");
  std::uint64_t bytes = 0;
  const auto [at, error] = std::from_chars(text.data(), text.data() + text.size(), bytes);
  if (error != std::errc() || at != text.data() + text.size()) {
    throw Error("answer_malformed", "the store does not say how long a blob is");
  }
  return bytes;
}

}  // namespace

BlockService::BlockService(StoreAccess& access, std::string container, ServiceOptions options)
    : access_(access),
      container_(std::move(container)),
      options_(std::move(options)),
      client_(std::make_unique<http::Client>(
          http::ClientConfig{.ca_path = access.ca_path(), .stall_timeout_ms = options_.stall_timeout_ms})) {}

BlockService::~BlockService() = default;

std::string BlockService::url(const std::string& blob) const {
  return fmt::format("{}/{}/{}", access_.service_url(), container_, blob);
}

ServiceRequest BlockService::request(const std::string& method, const std::string& blob) const {
  return {.method = method, .path = fmt::format("/{}{}{}", container_, blob.empty() ? "" : "/", blob)};
}

void BlockService::wait_for_pause(const std::stop_token& stop) const {
  for (;;) {
    const std::int64_t left = not_before_ - boot_ms_now();
    if (left <= 0) return;
    if (!async::sleep_unless_stopped(stop, std::chrono::milliseconds(left))) {
      throw Error("cancelled", "interrupted");
    }
  }
}

void BlockService::pause(int attempt, const Error& why, std::optional<std::int64_t> retry_after_ms,
                         const std::stop_token& stop) {
  const auto wait = async::next_delay(options_.backoff, attempt, async::unit_random, retry_after_ms);
  if (!wait) throw Error(why);
  if (retry_after_ms) {
    const std::int64_t until = boot_ms_now() + std::min(*retry_after_ms, options_.backoff.max_retry_after_ms);
    for (std::int64_t now = not_before_; now < until && !not_before_.compare_exchange_weak(now, until);) {
    }
  }
  if (options_.on_wait) options_.on_wait(why, *wait);
  if (!async::sleep_unless_stopped(stop, std::chrono::milliseconds(*wait))) {
    throw Error("cancelled", "interrupted");
  }
}

http::ClientResponse BlockService::once(const ServiceRequest& described, const Body& body,
                                        std::uint64_t max_answer_bytes, const std::stop_token& stop) {
  for (bool renewed = false;; renewed = true) {
    wait_for_pause(stop);
    http::ClientRequest request;
    ServiceRequest numbered = described;
    numbered.headers.set("x-ms-client-request-id", random_token(12));
    access_.authorize(numbered, request);
    request.body = body();
    request.max_answer_bytes = max_answer_bytes;
    request.stop = stop;
    http::ClientResponse answer = client_->send(request);
    const bool token_ended =
        answer.status == 401 || (answer.status == 403 && fault_code(answer) == "AuthenticationFailed");
    if (!token_ended || renewed || !access_.renew(request)) return answer;
  }
}

http::ClientResponse BlockService::repeated(const ServiceRequest& described, const Body& body,
                                            std::uint64_t max_answer_bytes, const std::stop_token& stop) {
  for (int attempt = 1;; ++attempt) {
    std::optional<Error> why;
    std::optional<std::int64_t> wish;
    try {
      http::ClientResponse answer = once(described, body, max_answer_bytes, stop);
      // What will not do another time either: the service says which of its functions it lacks by 500 or 501.
      if (!is_worth_another(answer) || fault_code(answer) == "FeatureNotSupported") return answer;
      why = fault_of(answer, described.method);
      wish = wished_wait(answer);
    } catch (const Error& error) {
      if (!error.retryable()) throw;
      why = error;
    }
    pause(attempt, *why, wish, stop);
  }
}

bool BlockService::create_container() {
  ServiceRequest described = request("PUT", "");
  described.query = {{"restype", "container"}};
  const http::ClientResponse answer =
      repeated(described, [] { return http::ClientBody(std::string()); }, kMaxFaultBytes);
  if (answer.status == 201) return true;
  if (answer.status == 409 && fault_code(answer) == "ContainerAlreadyExists") return false;
  throw fault_of(answer, "Create Container");
}

std::optional<BlobState> BlockService::state(const std::string& blob) {
  const http::ClientResponse answer = repeated(request("HEAD", blob), kNoBody, kMaxFaultBytes);
  if (is_absent(answer)) return std::nullopt;
  if (answer.status != 200) throw fault_of(answer, "Get Blob Properties");
  BlobState state{.bytes = length_of(answer), .etag = std::string(answer.headers.get("ETag"))};
  if (state.etag.empty()) throw Error("answer_malformed", "the store gives no ETag");
  if (const std::string_view noted = answer.headers.get(kSha256Field); is_sha256(noted)) state.sha256 = noted;
  return state;
}

std::vector<HeldBlock> BlockService::uncommitted(const std::string& blob) {
  ServiceRequest described = request("GET", blob);
  described.query = {{"comp", "blocklist"}, {"blocklisttype", "uncommitted"}};
  const http::ClientResponse answer = repeated(described, kNoBody, kMaxBlockListBytes);
  if (is_absent(answer)) return {};
  if (answer.status != 200) throw fault_of(answer, "Get Block List");
  auto blocks = parse_uncommitted(answer.body);
  if (!blocks) throw Error("answer_malformed", "the store's list of blocks is none");
  return std::move(*blocks);
}

void BlockService::put_block(const std::string& blob, const std::string& id, std::uint64_t bytes, const BlockSums& sums,
                             const Body& body, const std::stop_token& stop) {
  for (int attempt = 1;; ++attempt) {
    const bool crc = knows_crc64_;
    ServiceRequest described = request("PUT", blob);
    described.query = {{"comp", "block"}, {"blockid", id}};
    described.body_bytes = bytes;
    if (crc) {
      std::array<std::uint8_t, 8> little{};
      for (std::size_t i = 0; i < little.size(); ++i) little[i] = static_cast<std::uint8_t>(sums.crc64 >> (8 * i));
      described.headers.set("x-ms-content-crc64", to_base64(little));
    } else {
      described.headers.set("Content-MD5", to_base64(sums.md5()));
    }
    const http::ClientResponse answer = repeated(described, body, kMaxFaultBytes, stop);
    if (answer.status == 201) return;
    const std::string code = fault_code(answer);
    if (crc && code == "FeatureNotSupported") {
      knows_crc64_ = false;  // an emulator
      continue;
    }
    const bool mismatch = answer.status == 400 && (code == "Md5Mismatch" || code == "Crc64Mismatch" ||
                                                   code == "InvalidMd5" || code == "InvalidOperation");
    if (!mismatch) throw fault_of(answer, "Put Block");
    sums.md5();  // reads again, and says so if what is there is not what was hashed
    pause(attempt, Error("block_damaged", fmt::format("the store received other bytes than were sent ({})", code)),
          std::nullopt, stop);
  }
}

BlockService::Written BlockService::write(ServiceRequest described, const std::string& body, const std::string& sha256,
                                          const Precondition& precondition) {
  described.headers.set(kSha256Field, sha256);
  described.headers.set(precondition.etag.empty() ? "If-None-Match" : "If-Match",
                        precondition.etag.empty() ? "*" : precondition.etag);
  described.body_bytes = body.size();
  using enum Written::How;
  try {
    const http::ClientResponse answer =
        once(described, [&] { return http::ClientBody(body); }, kMaxFaultBytes, options_.stop);
    if (answer.status == 201) return {kDone, std::string(answer.headers.get("ETag")), std::nullopt};
    Error fault = fault_of(answer, "the last write");
    if (is_worth_another(answer)) {
      if (const auto wish = wished_wait(answer)) {
        not_before_ =
            std::max<std::int64_t>(not_before_, boot_ms_now() + std::min(*wish, options_.backoff.max_retry_after_ms));
      }
      return {kUnknown, "", std::move(fault)};
    }
    const std::string code = fault_code(answer);
    if (code == "InvalidBlockList") return {kBlocksLost, "", std::move(fault)};
    if (fault.reason == "precondition_failed") return {kPreconditionFailed, "", std::move(fault)};
    throw Error(std::move(fault));
  } catch (const Error& error) {
    if (!error.retryable()) throw;
    return {kUnknown, "", error};
  }
}

BlockService::Written BlockService::put_block_list(const std::string& blob, std::span<const std::string> ids,
                                                   const std::string& sha256, const Precondition& precondition) {
  ServiceRequest described = request("PUT", blob);
  described.query = {{"comp", "blocklist"}};
  described.headers.set("Content-Type", "application/xml");
  described.headers.set("x-ms-blob-content-type", "application/octet-stream");
  return write(std::move(described), block_list_body(ids), sha256, precondition);
}

BlockService::Written BlockService::put_blob(const std::string& blob, const std::string& content,
                                             const std::string& content_type, const Precondition& precondition) {
  ServiceRequest described = request("PUT", blob);
  described.headers.set("Content-Type", content_type);
  described.headers.set("Content-MD5", to_base64(md5(as_bytes(content))));
  described.headers.set("x-ms-blob-type", "BlockBlob");
  return write(std::move(described), content, sha256_hex(content), precondition);
}

void BlockService::read(const std::string& blob, const std::string& etag, const std::function<void(ByteView)>& sink) {
  ServiceRequest described = request("GET", blob);
  described.headers.set("If-Match", etag);
  http::ClientRequest request;
  access_.authorize(described, request);
  request.max_answer_bytes = ~std::uint64_t{0};
  request.stop = options_.stop;
  const http::ClientResponse answer = client_->fetch(
      request, [](const http::ClientResponse& head) { return head.status == 200; },
      [&](ByteView piece) {
        sink(piece);
        return true;
      });
  if (answer.status == 412) throw Error("blob_changed", "the blob was replaced while it was read");
  if (answer.status != 200) throw fault_of(answer, "Get Blob");
}

}  // namespace tb::azure
