#include "http/client.h"

#include <curl/curl.h>
#include <fmt/format.h>

#include <cstdlib>
#include <exception>
#include <mutex>

#include "http/transfer.h"

namespace tb::http {

namespace {

// Kept with their connections; more at once are made and dropped.
constexpr std::size_t kMostKept = 64;

}  // namespace

struct Client::Impl {
  explicit Impl(ClientConfig config_in) : config(std::move(config_in)) {
    static const CURLcode kReady = curl_global_init(CURL_GLOBAL_DEFAULT);
    if (kReady != CURLE_OK) throw Error("internal", "libcurl does not start");
  }

  std::unique_ptr<TransferLoop> take() {
    for (;;) {
      std::unique_ptr<TransferLoop> kept;
      {
        std::lock_guard lock(mutex);
        if (idle.empty()) break;
        kept = std::move(idle.back());
        idle.pop_back();
      }
      if (!kept->has_unread_bytes()) return kept;
    }
    return std::make_unique<TransferLoop>();
  }
  void give_back(std::unique_ptr<TransferLoop> loop) {
    loop->reset();
    std::lock_guard lock(mutex);
    if (idle.size() < kMostKept) idle.push_back(std::move(loop));
  }

  ClientConfig config;
  std::mutex mutex;
  std::vector<std::unique_ptr<TransferLoop>> idle;
};

Client::Client(ClientConfig config) : impl_(std::make_unique<Impl>(std::move(config))) {}
Client::~Client() = default;

ClientResponse Client::send(const ClientRequest& request) {
  std::string body;
  ClientResponse response = fetch(request, {}, [&](ByteView piece) {
    body.append(as_text(piece));
    return true;
  });
  response.body = std::move(body);
  return response;
}

ClientResponse Client::fetch(const ClientRequest& request, const OnHead& on_head, const Sink& sink) {
  // Refusals come before a connection is taken: nothing has left this machine then.
  Transfer transfer(impl_->config, request, on_head, sink);
  struct Borrowed {
    Impl& impl;
    std::unique_ptr<TransferLoop> loop;
    int faults = std::uncaught_exceptions();
    ~Borrowed() {
      // After a fault it has no connection worth keeping; and one whose name did not resolve refuses options
      // afterwards.
      if (std::uncaught_exceptions() == faults) impl.give_back(std::move(loop));
    }
  } const borrowed{*impl_, impl_->take()};
  return transfer.run(*borrowed.loop);
}

std::optional<std::int64_t> retry_after_ms(std::string_view value, UnixMs now) {
  if (value.empty() || value.size() > 64) return std::nullopt;
  if (value.find_first_not_of("0123456789") == std::string_view::npos) {
    if (value.size() > 9) return std::int64_t{999'999'999} * 1000;
    return std::strtoll(std::string(value).c_str(), nullptr, 10) * 1000;
  }
  const time_t at = curl_getdate(std::string(value).c_str(), nullptr);
  if (at < 0) return std::nullopt;
  return std::max<std::int64_t>(0, static_cast<std::int64_t>(at) * 1000 - now);
}

}  // namespace tb::http
