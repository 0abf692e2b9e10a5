#include "cli/control_plane.h"

#include <fmt/format.h>

#include <chrono>
#include <thread>

#include "api/page.h"
#include "api/problem.h"
#include "base/clock.h"
#include "base/fs.h"
#include "cli/interrupt.h"

namespace tb::cli {
namespace {

constexpr std::size_t kMaxTokenBytes = 4096;
constexpr std::uint64_t kMaxAnswerBytes = std::uint64_t{8} << 20;
constexpr int kAttempts = 4;
constexpr int kMaxPages = 10'000;
constexpr std::int64_t kMaxPauseMs = 60'000;
constexpr std::int64_t kSliceMs = 50;

SecretString read_token(const std::string& path) {
  const SecretString text = value_or_throw(read_secret_file(path, kMaxTokenBytes));
  std::string_view token = text.reveal();
  while (!token.empty() && (token.back() == '\n' || token.back() == '\r' || token.back() == ' '))
    token.remove_suffix(1);
  if (token.empty() || token.find_first_of(" \t\r\n") != std::string_view::npos) {
    throw Error("config_invalid", fmt::format("{} does not hold one token", path));
  }
  return SecretString(std::string(token));
}

Json body_of(const http::ClientResponse& answer) {
  if (answer.body.empty()) return nullptr;
  Result<Json> body = Json::parse(answer.body, {.bytes = kMaxAnswerBytes});
  if (!body) throw Error("answer_malformed", "the control plane's answer is not JSON", std::move(body.error()));
  return std::move(*body);
}

std::string_view reason_of_status(int status) {
  switch (status) {
    case 401:
    case 403:
      return "permission_denied";
    case 404:
      return "not_found";
    case 409:
      return "precondition_failed";
    case 413:
      return "body_too_large";
    case 429:
      return "server_busy";
    default:
      return status >= 500 ? "server_busy" : "bad_request";
  }
}

}  // namespace

struct ControlPlane::Impl {
  explicit Impl(http::ClientConfig config) : client(std::move(config)) {}
  http::Client client;
  std::string endpoint;
  SecretString token;
  std::string tenant;
  Console console;
};

ControlPlane::ControlPlane(const Settings& settings, const Console& console) {
  if (settings.edc_endpoint.empty()) {
    throw Error("usage", "no control plane is set")
        .with_hint("give --edc-endpoint URL, TB_EDC_ENDPOINT, or a profile in ~/.trustbridge/config.toml");
  }
  if (settings.token_file.empty()) {
    throw Error("usage", "no token is set")
        .with_hint("give --token-file FILE, made with trustbridge-control-plane token create --role provider");
  }
  http::ClientConfig config;
  config.ca_path = settings.ca_path;
  config.policy = http::AddressPolicy::configured(settings.allow_insecure_http);
  impl_ = std::make_unique<Impl>(std::move(config));
  impl_->endpoint = settings.edc_endpoint;
  while (impl_->endpoint.ends_with('/')) impl_->endpoint.pop_back();
  impl_->token = read_token(settings.token_file);
  impl_->tenant = settings.tenant;
  impl_->console = console;
}

ControlPlane::~ControlPlane() = default;

http::ClientResponse ControlPlane::exchange(http::ClientRequest request, const std::string& path) {
  const StopOnInterrupt stop;
  request.url = SecretUrl(impl_->endpoint + path);
  request.bearer = impl_->token.clone();
  request.max_answer_bytes = kMaxAnswerBytes;
  request.stop = stop.token();
  return impl_->client.send(request);
}

void ControlPlane::require_success(const http::ClientResponse& answer) {
  if (answer.status >= 200 && answer.status < 300) return;
  if (const std::optional<api::Problem> problem = api::Problem::parse(answer.body)) {
    Error error = problem->to_error();
    // A reason that only the control plane knows still exits by its status.
    if (reason_info(error.reason).reason != error.reason) {
      error = Error(reason_of_status(answer.status), fmt::format("{}: {}", problem->code, problem->detail));
    }
    if (!problem->hint.empty()) error.own_hint = problem->hint;
    throw error;
  }
  throw Error(reason_of_status(answer.status), fmt::format("the control plane answered {}", answer.status));
}

void ControlPlane::pause(int attempt, const http::ClientResponse* answer) {
  std::int64_t wait_ms = 2000LL << std::min(attempt, 4);
  if (answer != nullptr) {
    if (const std::string* after = answer->headers.find("Retry-After")) {
      wait_ms = http::retry_after_ms(*after, unix_ms_now()).value_or(wait_ms);
    }
  }
  wait_ms = std::clamp<std::int64_t>(wait_ms, 0, kMaxPauseMs);
  impl_->console.note(fmt::format("the control plane is not available, trying again in {}",
                                  human_seconds(static_cast<std::uint64_t>(wait_ms + 999) / 1000)));
  for (const std::int64_t end = boot_ms_now() + wait_ms; boot_ms_now() < end;) {
    throw_if_interrupted();
    std::this_thread::sleep_for(std::chrono::milliseconds(kSliceMs));
  }
}

std::string ControlPlane::in_tenant(const std::string& path) const {
  constexpr std::string_view kOfATenant[] = {"/api/v1/contracts", "/api/v1/assets", "/api/v1/usage", "/api/v1/events"};
  const bool has_one = std::ranges::any_of(kOfATenant, [&](std::string_view route) { return path.starts_with(route); });
  if (impl_->tenant.empty() || !has_one) return path;
  return path + (path.contains('?') ? "&" : "?") + "tenant=" + path_part(impl_->tenant);
}

Answer ControlPlane::run(const std::string& method, const std::string& path,
                         const std::function<http::ClientBody()>& body, Repeat repeat) {
  for (int attempt = 0;; ++attempt) {
    const bool last = repeat == Repeat::kNever || attempt + 1 == kAttempts;
    std::optional<http::ClientResponse> answer;
    try {
      http::ClientRequest request;
      request.method = method;
      request.body = body();
      if (!std::holds_alternative<std::monostate>(request.body))
        request.headers.set("Content-Type", "application/json");
      answer = exchange(std::move(request), in_tenant(path));
    } catch (const Error& error) {
      if (last || !error.retryable()) throw;
      pause(attempt, nullptr);
      continue;
    }
    if (!last && http::is_retryable_status(answer->status)) {
      pause(attempt, &*answer);
      continue;
    }
    require_success(*answer);
    Json value = body_of(*answer);
    return {answer->status, std::move(answer->headers), std::move(value)};
  }
}

Answer ControlPlane::get(const std::string& path) {
  return run("GET", path, [] { return http::ClientBody(); }, Repeat::kHarmless);
}

Answer ControlPlane::send(const std::string& method, const std::string& path, const Json& body, Repeat repeat) {
  const auto make_body = [&]() -> http::ClientBody {
    if (body.is_null()) return std::monostate{};
    return body.dump();
  };
  return run(method, path, make_body, repeat);
}

Answer ControlPlane::send_secret(const std::string& method, const std::string& path, SecretString body, Repeat repeat) {
  return run(method, path, [&]() -> http::ClientBody { return body.clone(); }, repeat);
}

Json::Array ControlPlane::list(const std::string& path) {
  Json::Array items;
  std::string cursor;
  for (int page_number = 0; page_number < kMaxPages; ++page_number) {
    const Answer answer = get(cursor.empty() ? path : fmt::format("{}?cursor={}", path, path_part(cursor)));
    api::Page page = api::Page::parse(answer.body.dump());
    items.insert(items.end(), std::make_move_iterator(page.items.begin()), std::make_move_iterator(page.items.end()));
    if (!page.next_cursor) return items;
    cursor = *page.next_cursor;
  }
  throw Error("answer_malformed", fmt::format("the list has more than {} pages", kMaxPages));
}

std::string path_part(std::string_view text) {
  std::string out;
  for (char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (std::isalnum(byte) != 0 || c == '-' || c == '_' || c == '.' || c == '~') {
      out += c;
    } else {
      out += fmt::format("%{:02X}", byte);
    }
  }
  return out;
}

}  // namespace tb::cli
