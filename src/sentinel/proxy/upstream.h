// Connections to the runtime: made when needed, kept for a moment after a clean exchange, never used again after
// anything else. A kept connection that the runtime has meanwhile closed, or written to unasked, is dropped before use.
#pragma once

#include <boost/asio/io_context.hpp>
#include <cstdint>
#include <deque>
#include <memory>

#include "sentinel/config.h"
#include "sentinel/proxy/stream.h"

namespace tb::sentinel::proxy {

class UpstreamPool {
 public:
  UpstreamPool(asio::io_context& io, RuntimeAddress address, std::int64_t connect_ms, std::int64_t idle_ms,
               std::size_t most)
      : io_(io), address_(std::move(address)), connect_ms_(connect_ms), idle_ms_(idle_ms), most_(most) {}

  /// A kept connection that is still good, else a new one; null if the runtime cannot be reached.
  asio::awaitable<std::unique_ptr<UpstreamStream>> acquire();
  /// Takes back a connection whose last exchange ended cleanly.
  void keep(std::unique_ptr<UpstreamStream> stream);
  /// Drops what is kept; connections in use are not taken back any more.
  void set_address(RuntimeAddress address);
  void clear();

 private:
  struct Kept {
    std::unique_ptr<UpstreamStream> stream;
    std::int64_t since_boot_ms;
  };
  asio::awaitable<std::unique_ptr<UpstreamStream>> connect();

  asio::io_context& io_;
  RuntimeAddress address_;
  std::int64_t connect_ms_, idle_ms_;
  std::size_t most_;
  std::deque<Kept> kept_;
};

}  // namespace tb::sentinel::proxy
