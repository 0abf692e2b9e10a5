// Sockets of the proxy with the few operations that it needs, and bodies read from them piece by piece. Errors are
// values: no operation here throws. All objects belong to the proxy's loop.
#pragma once

#include <array>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sentinel/proxy/chunked.h"
#include "sentinel/proxy/head.h"

namespace tb::sentinel::proxy {

namespace asio = boost::asio;
using ErrorCode = boost::system::error_code;
constexpr auto kAwait = asio::as_tuple(asio::use_awaitable);

/// The client's connection, plain or TLS.
class ClientStream {
 public:
  ClientStream(asio::ip::tcp::socket socket, asio::ssl::context* tls) : socket_(std::move(socket)) {
    if (tls != nullptr) tls_.emplace(socket_, *tls);
  }

  asio::awaitable<ErrorCode> handshake() {
    if (!tls_) co_return ErrorCode{};
    auto [error] = co_await tls_->async_handshake(asio::ssl::stream_base::server, kAwait);
    co_return error;
  }
  asio::awaitable<std::tuple<ErrorCode, std::size_t>> read_some(asio::mutable_buffer buffer) {
    if (tls_) co_return co_await tls_->async_read_some(buffer, kAwait);
    co_return co_await socket_.async_read_some(buffer, kAwait);
  }
  template <typename Buffers>
  asio::awaitable<ErrorCode> write(Buffers buffers) {
    if (tls_) {
      auto [error, bytes] = co_await asio::async_write(*tls_, buffers, kAwait);
      co_return error;
    }
    auto [error, bytes] = co_await asio::async_write(socket_, buffers, kAwait);
    co_return error;
  }
  asio::ip::tcp::socket& socket() { return socket_; }
  bool is_tls() const { return tls_.has_value(); }
  void close() {
    ErrorCode ignored;
    socket_.close(ignored);
  }

 private:
  asio::ip::tcp::socket socket_;
  std::optional<asio::ssl::stream<asio::ip::tcp::socket&>> tls_;
};

/// The runtime's connection: loopback TCP or a unix socket.
class UpstreamStream {
 public:
  explicit UpstreamStream(asio::generic::stream_protocol::socket socket) : socket_(std::move(socket)) {}
  asio::awaitable<std::tuple<ErrorCode, std::size_t>> read_some(asio::mutable_buffer buffer) {
    co_return co_await socket_.async_read_some(buffer, kAwait);
  }
  template <typename Buffers>
  asio::awaitable<ErrorCode> write(Buffers buffers) {
    auto [error, bytes] = co_await asio::async_write(socket_, buffers, kAwait);
    co_return error;
  }
  asio::generic::stream_protocol::socket& socket() { return socket_; }
  void close() {
    ErrorCode ignored;
    socket_.close(ignored);
  }

 private:
  asio::generic::stream_protocol::socket socket_;
};

/// Bytes that were read and not yet used. Grows up to the longest head, shrinks never: one for each connection.
class ReadBuffer {
 public:
  static constexpr std::size_t kReadBytes = 16 * 1024;

  std::string_view view() const { return {bytes_.data() + begin_, end_ - begin_}; }
  void consume(std::size_t bytes) {
    begin_ += bytes;
    if (begin_ == end_) begin_ = end_ = 0;
  }
  /// Room for the next read, after what is there.
  asio::mutable_buffer room() {
    if (begin_ > 0 && bytes_.size() - end_ < kReadBytes) {
      std::copy(bytes_.begin() + static_cast<std::ptrdiff_t>(begin_),
                bytes_.begin() + static_cast<std::ptrdiff_t>(end_), bytes_.begin());
      end_ -= begin_;
      begin_ = 0;
    }
    if (bytes_.size() < end_ + kReadBytes) bytes_.resize(end_ + kReadBytes);
    return asio::buffer(bytes_.data() + end_, kReadBytes);
  }
  void filled(std::size_t bytes) { end_ += bytes; }

 private:
  std::vector<char> bytes_;
  std::size_t begin_ = 0, end_ = 0;
};

/// One piece of a body.
struct Piece {
  enum Kind { kData, kEnd, kCut, kMalformed } kind = kCut;
  std::string_view data;  ///< until the next read
};

/// A body, taken from a stream and its buffer; what follows the body stays in the buffer.
template <typename Stream>
class BodyReader {
 public:
  BodyReader(Stream& stream, ReadBuffer& buffer, Framing framing, std::uint64_t length)
      : stream_(stream), buffer_(buffer), framing_(framing), left_(length) {}

  asio::awaitable<Piece> next() {
    buffer_.consume(given_);
    given_ = 0;
    while (true) {
      if (const auto piece = from_buffer()) co_return *piece;
      const asio::mutable_buffer room = buffer_.room();
      const auto [error, bytes] = co_await stream_.read_some(room);
      if (error) {
        const bool clean_end = framing_ == Framing::kUntilClose && error == asio::error::eof;
        co_return Piece{clean_end ? Piece::kEnd : Piece::kCut, {}};
      }
      buffer_.filled(bytes);
    }
  }

 private:
  std::optional<Piece> from_buffer() {
    switch (framing_) {
      case Framing::kNone:
        return Piece{Piece::kEnd, {}};
      case Framing::kLength: {
        if (left_ == 0) return Piece{Piece::kEnd, {}};
        const std::string_view data = buffer_.view().substr(0, left_);
        if (data.empty()) return std::nullopt;
        left_ -= data.size();
        given_ = data.size();
        return Piece{Piece::kData, data};
      }
      case Framing::kUntilClose: {
        const std::string_view data = buffer_.view();
        if (data.empty()) return std::nullopt;
        given_ = data.size();
        return Piece{Piece::kData, data};
      }
      case Framing::kChunked:
        break;
    }
    const ChunkedDecoder::Step step = decoder_.next(buffer_.view());
    if (step.kind == ChunkedDecoder::Kind::kData) {
      given_ = step.consumed;
      return Piece{Piece::kData, step.data};
    }
    buffer_.consume(step.consumed);
    if (step.kind == ChunkedDecoder::Kind::kNeedMore) return std::nullopt;
    return Piece{step.kind == ChunkedDecoder::Kind::kEnd ? Piece::kEnd : Piece::kMalformed, {}};
  }

  Stream& stream_;
  ReadBuffer& buffer_;
  Framing framing_;
  std::uint64_t left_;
  std::size_t given_ = 0;  ///< bytes of the buffer that the caller still looks at
  ChunkedDecoder decoder_;
};

/// Writes one piece as it came, or as one chunk. An empty piece writes nothing: as a chunk it would be the end.
template <typename Stream>
asio::awaitable<ErrorCode> write_piece(Stream& stream, std::string_view data, bool chunked) {
  if (data.empty()) co_return ErrorCode{};
  if (!chunked) {
    const asio::const_buffer whole = asio::buffer(data);
    co_return co_await stream.write(whole);
  }
  std::array<char, 20> size;
  const int digits = std::snprintf(size.data(), size.size(), "%zx\r\n", data.size());
  const std::array<asio::const_buffer, 3> parts = {asio::buffer(size.data(), static_cast<std::size_t>(digits)),
                                                   asio::buffer(data), asio::buffer("\r\n", 2)};
  co_return co_await stream.write(parts);
}

}  // namespace tb::sentinel::proxy
