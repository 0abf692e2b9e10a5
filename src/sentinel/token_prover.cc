#include "sentinel/token_prover.h"

#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/clock.h"
#include "jose/rs256.h"
#include "sentinel/runtime/child.h"
#include "sentinel/runtime/command.h"

namespace tb::sentinel {
namespace {

constexpr int kLookMs = 50;

[[noreturn]] void unavailable(const std::string& why) {
  throw Error("evidence_unavailable", "the command of TB_ATTESTATION_TOKEN_COMMAND " + why);
}

/// Until the command closes its output or ends; a line feed may follow the token.
std::string output_of(runtime::Child& child, std::int64_t deadline, const std::stop_token& stop) {
  std::string out;
  std::array<char, 4096> piece{};
  for (;;) {
    if (stop.stop_requested()) throw Error("cancelled", "stopped");
    if (boot_ms_now() >= deadline) unavailable("took too long");
    pollfd wait{.fd = child.output_fd(), .events = POLLIN, .revents = 0};
    if (poll(&wait, 1, kLookMs) <= 0) continue;
    const ssize_t got = read(child.output_fd(), piece.data(), piece.size());
    if (got == 0) return out;
    if (got < 0) {
      if (errno == EAGAIN || errno == EINTR) continue;
      unavailable("could not be read");
    }
    out.append(piece.data(), static_cast<std::size_t>(got));
    if (out.size() > jose::kMaxTokenBytes + 2) unavailable("printed more than a token can have");
  }
}

void await_end(runtime::Child& child, std::int64_t deadline, const std::stop_token& stop) {
  while (!child.ended()) {
    if (stop.stop_requested()) throw Error("cancelled", "stopped");
    if (boot_ms_now() >= deadline) unavailable("took too long");
    poll(nullptr, 0, 5);
  }
  if (*child.ended() != "exit 0") unavailable("failed: " + *child.ended());
}

bool is_compact_jws(std::string_view text) {
  const auto is_base64url = [](char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
  };
  return std::ranges::count(text, '.') == 2 &&
         std::ranges::all_of(text, [&](char c) { return c == '.' || is_base64url(c); });
}

}  // namespace

std::string run_token_command(const std::vector<std::string>& command, const Digest& digest, std::int64_t timeout_ms,
                              const std::stop_token& stop) {
  const std::int64_t deadline = boot_ms_now() + timeout_ms;
  std::optional<runtime::Child> child;
  try {
    child.emplace(runtime::ChildSpec{.arguments = command,
                                     .environment = runtime::runtime_environment(process_variables()),
                                     .uid = 0,
                                     .input = to_hex(digest) + "\n",
                                     .errors_apart = true});
  } catch (const Error& error) {
    throw Error("evidence_unavailable", "the command of TB_ATTESTATION_TOKEN_COMMAND cannot be run", error);
  }
  std::string token = output_of(*child, deadline, stop);
  await_end(*child, deadline, stop);
  while (!token.empty() && (token.back() == '\n' || token.back() == '\r')) token.pop_back();
  if (token.size() > jose::kMaxTokenBytes || !is_compact_jws(token)) unavailable("printed no token");
  return token;
}

TokenProver::TokenProver(std::vector<std::string> command) : command_(std::move(command)) {}

Json TokenProver::prove(const EvidenceTask& task, std::stop_token stop) {
  Json json = Json::object();
  json.set("type", "token");
  json.set("token", run_token_command(command_, task.digest, kTokenCommandMs, stop));
  return json;
}

Json TokenProver::report() {
  return Json::object();
}

}  // namespace tb::sentinel
