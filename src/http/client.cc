#include "http/client.h"

#include <curl/curl.h>
#include <fmt/format.h>
#include <poll.h>

#include <cstdlib>
#include <exception>
#include <mutex>

#include "http/transfer.h"

namespace tb::http {

namespace {

// Handles kept with their connections; more at once are made and dropped.
constexpr std::size_t kKeptHandles = 64;

}  // namespace

struct Client::Impl {
  explicit Impl(ClientConfig config_in) : config(std::move(config_in)) {
    static const CURLcode kReady = curl_global_init(CURL_GLOBAL_DEFAULT);
    if (kReady != CURLE_OK) throw Error("internal", "libcurl does not start");
  }
  ~Impl() {
    for (const Kept& kept : handles) curl_easy_cleanup(kept.handle);
  }

  /// An idle handle and the connection that it used last.
  struct Kept {
    CURL* handle = nullptr;
    curl_socket_t socket = CURL_SOCKET_BAD;

    /// Bytes that nobody asked for would be read as the next answer: libcurl looks only whether the peer has closed. A
    /// late TLS session ticket looks the same and costs a connection.
    bool has_unread_bytes() const {
      pollfd idle{socket, POLLIN, 0};
      return socket != CURL_SOCKET_BAD && poll(&idle, 1, 0) > 0;
    }
  };

  CURL* take() {
    for (;;) {
      Kept kept;
      {
        std::lock_guard lock(mutex);
        if (handles.empty()) break;
        kept = handles.back();
        handles.pop_back();
      }
      if (!kept.has_unread_bytes()) return kept.handle;
      curl_easy_cleanup(kept.handle);
    }
    CURL* handle = curl_easy_init();
    if (!handle) throw Error("out_of_memory", "no memory for an HTTP handle");
    return handle;
  }
  void give_back(CURL* handle) {
    Kept kept{handle};
    curl_easy_getinfo(handle, CURLINFO_ACTIVESOCKET, &kept.socket);
    curl_easy_reset(handle);  // options go, connections stay
    std::lock_guard lock(mutex);
    if (handles.size() < kKeptHandles) {
      handles.push_back(kept);
    } else {
      curl_easy_cleanup(handle);
    }
  }

  ClientConfig config;
  std::mutex mutex;
  std::vector<Kept> handles;
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
  // Refusals come before a handle is taken: nothing has left this machine then.
  Transfer transfer(impl_->config, request, on_head, sink);
  struct Borrowed {
    Impl& impl;
    CURL* handle;
    int faults = std::uncaught_exceptions();
    ~Borrowed() {
      // After a fault it has no connection worth keeping; and one whose name did not resolve refuses options
      // afterwards.
      if (std::uncaught_exceptions() > faults) {
        curl_easy_cleanup(handle);
      } else {
        impl.give_back(handle);
      }
    }
  } const borrowed{*impl_, impl_->take()};
  return transfer.run(borrowed.handle);
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
