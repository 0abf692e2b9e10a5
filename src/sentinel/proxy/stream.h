// A connected socket of the proxy, plain or TLS, that never blocks, and the two ends of what passes through it: Intake
// for what was read and not yet used, Outbox for what the kernel has not yet taken.
//
// Sockets are watched edge-triggered (poller.h), so a stream remembers whether it may be read. Memory: an Intake reads
// into a room that all connections of the loop share, and an Outbox sends from where the bytes lie; a connection owns
// bytes only while they wait for more of them, or for a peer that is slow.
#pragma once

#include <sys/uio.h>

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/fs.h"

typedef struct ssl_st SSL;
typedef struct ssl_ctx_st SSL_CTX;

namespace tb::sentinel::proxy {

struct SslFree {
  void operator()(SSL* ssl) const;
};
using SslPointer = std::unique_ptr<SSL, SslFree>;

enum class Io {
  kDone,    ///< some bytes
  kWait,    ///< nothing now; on_ready() will tell
  kEnd,     ///< the peer ends its side
  kFailed,  ///< the connection is broken
};
struct IoResult {
  Io io = Io::kFailed;
  std::size_t bytes = 0;
};

/// For a TCP connection that stays on this host. The plainest congestion control, which everybody may choose: what the
/// host has chosen for its networks (BBR paces) only costs here. Where it cannot be had, all stays as it is.
void tune_for_loopback(int fd);

class Stream {
 public:
  explicit Stream(Fd fd) : fd_(std::move(fd)) {}
  Stream(Stream&&) noexcept = default;
  Stream& operator=(Stream&&) = delete;
  ~Stream() { close(); }
  /// TLS as its server from the first byte on. Null `context`: plain. False if there is no memory for it.
  bool secure(SSL_CTX* context);

  bool is_open() const { return static_cast<bool>(fd_); }
  bool is_tls() const { return ssl_ != nullptr; }
  int fd() const { return fd_.get(); }
  /// Tells of `whom` in the set `epoll` until this stream closes: edge-triggered, both directions. Where it is watched,
  /// the new one is told from now on. False if the kernel has no room.
  bool watch(int epoll, void* whom);
  const SSL* ssl() const { return ssl_.get(); }
  void note(std::uint32_t events);
  /// Whether the peer has ended its side or the connection is broken, as far as the kernel has told.
  bool hung_up() const { return hung_up_; }
  bool may_read() const { return readable_; }

  Io handshake();
  /// When the kernel is told that bytes are taken.
  enum class Taking {
    kNow,
    kLater,  ///< by take(), or before the next read, where may_take_later() was called
  };
  IoResult read(std::span<char> room, Taking taking = Taking::kNow);
  /// Only for plain TCP. Once its reader has emptied the socket TCP acknowledges, and that is a packet's whole way:
  /// bytes that are waited for elsewhere had better be sent on first.
  void may_take_later() { may_take_later_ = true; }
  /// False if it cannot be: nothing can be read any more.
  bool take();
  /// TLS gathers the parts into one record where they are small.
  IoResult write(std::span<const iovec> parts);
  /// Ends our side: the peer reads an end after what was written.
  void end_writing();
  /// `hard`: with a reset, so that what was sent cannot be taken for a whole answer.
  void close(bool hard = false);

 private:
  IoResult write_tls(std::span<const iovec> parts);
  Io tls_wait(int result);

  Fd fd_;
  int epoll_ = -1;  ///< the set that watches it
  SslPointer ssl_;
  std::size_t not_taken_ = 0;
  bool readable_ = false, hung_up_ = false, end_sent_ = false, may_take_later_ = false;
};

/// Room that all connections of a loop read into, one after the other.
class ReadRoom {
 public:
  static constexpr std::size_t kReadBytes = 128 * 1024;
  static constexpr std::size_t kBytes = 2 * kReadBytes;
  ReadRoom() : bytes_(std::make_unique<char[]>(kBytes)) {}
  char* data() { return bytes_.get(); }

 private:
  std::unique_ptr<char[]> bytes_;
};

/// What was read and not yet used. Never more than a room.
class Intake {
 public:
  /// Reads `most_bytes` at once at most.
  Intake(ReadRoom& room, std::size_t most_bytes) : room_(room), most_bytes_(most_bytes) {}
  std::string_view view() const { return view_; }
  void consume(std::size_t bytes) { view_.remove_prefix(bytes); }
  void clear();
  /// Reads once, behind what is there. Views from before are gone. kWait also when there is no room.
  IoResult fill(Stream& stream, Stream::Taking taking = Stream::Taking::kNow);
  /// The room is for the next connection now: what is left becomes the connection's own.
  void park();

 private:
  ReadRoom& room_;
  std::size_t most_bytes_;
  std::string_view view_;  ///< of the room, or of own_
  bool in_room_ = false;
  std::string own_;
};

/// What leaves by one socket: parts that lie elsewhere, sent together, and the rest of them kept if the peer is slow.
class Outbox {
 public:
  /// Parts on their way from elsewhere; one list for all connections of a loop, empty between two of them.
  struct Gather {
    static constexpr std::size_t kParts = 96;
    std::array<iovec, kParts> parts;
    std::array<bool, kParts> is_body;
    std::size_t count = 0;
    std::array<char, 24 * 8> text;  ///< sizes of chunks
    std::size_t text_bytes = 0;
    std::array<char, 4096> small;  ///< parts that are so few bytes that copying them costs less than telling of each
  };
  explicit Outbox(Gather& gather) : gather_(gather) {}

  /// `bytes` stay where they are until flush(). `body`: given to on_sent when the kernel has taken them.
  void add(std::string_view bytes, bool body = false);
  void add_chunk_size(std::uint64_t bytes);
  /// True while bytes are left that the peer has not taken.
  bool is_waiting() const { return sent_ < kept_.size(); }
  /// Sends what can be sent: kDone if nothing is left, kWait if something is, kFailed.
  template <typename OnSent>
  Io flush(Stream& stream, const OnSent& on_sent) {
    while (true) {
      std::size_t count = 0;
      if (is_waiting()) keep();
      const std::span<const iovec> parts = next_parts(count);
      if (count == 0) return Io::kDone;
      const IoResult result = stream.write(gathered(parts));
      if (result.io != Io::kDone) {
        keep();
        return result.io == Io::kWait ? Io::kWait : Io::kFailed;
      }
      took_ += result.bytes;
      pass_on(result.bytes, on_sent);
    }
  }
  /// Keeps what was added: it is to be sent later.
  void hold() { keep(); }
  /// Not sent yet.
  std::size_t unsent_bytes() const {
    std::size_t total = kept_.size() - sent_;
    if (!is_waiting()) {
      for (std::size_t i = 0; i < gather_.count; ++i) total += gather_.parts[i].iov_len;
    }
    return total;
  }
  void clear();
  /// Bytes that the kernel has taken, of all time.
  std::uint64_t took() const { return took_; }

 private:
  struct Segment {
    std::size_t bytes;
    bool body;
  };
  std::span<const iovec> next_parts(std::size_t& count);
  std::span<const iovec> gathered(std::span<const iovec> parts);
  void keep();
  /// The first `bytes` of what stands first have gone.
  template <typename OnSent>
  void pass_on(std::size_t bytes, const OnSent& on_sent) {
    if (is_waiting()) {
      while (bytes > 0) {
        Segment& segment = segments_[first_segment_];
        const std::size_t part = std::min(bytes, segment.bytes);
        if (segment.body) on_sent(std::string_view(kept_).substr(sent_, part));
        sent_ += part;
        bytes -= part;
        segment.bytes -= part;
        if (segment.bytes == 0) ++first_segment_;
      }
      if (!is_waiting()) drop_kept();
      return;
    }
    std::size_t first = 0;
    for (; first < gather_.count && bytes > 0; ++first) {
      iovec& part = gather_.parts[first];
      const std::size_t gone = std::min(bytes, part.iov_len);
      if (gather_.is_body[first]) on_sent(std::string_view(static_cast<char*>(part.iov_base), gone));
      bytes -= gone;
      part.iov_base = static_cast<char*>(part.iov_base) + gone;
      part.iov_len -= gone;
      if (part.iov_len > 0) break;
    }
    drop_parts(first);
  }
  void drop_parts(std::size_t count);
  void drop_kept();

  Gather& gather_;
  std::string kept_;
  std::vector<Segment> segments_;  ///< of kept_
  std::size_t sent_ = 0, first_segment_ = 0;
  std::uint64_t took_ = 0;
  iovec one_{};
};

}  // namespace tb::sentinel::proxy
