// Runs libcurl's transfers one at a time, reading in large pieces. Internal to http/.
//
// libcurl's own loop asks poll(2) twice for every read, and over TLS a read is one record of 16 KiB taken by two calls
// of recv(2). Here it is let read for as long as bytes come; while much of a body is still to come the kernel is asked
// to wake for a large piece of it (SO_RCVLOWAT), which is not waited for longer than kLargePieceMs; and OpenSSL takes
// many records at once. Near a body's end all this is off: nothing behind it is ever read.
#pragma once

#include <curl/curl.h>

#include <cstdint>
#include <stop_token>
#include <vector>

typedef struct ssl_st SSL;

namespace tb::http {

/// What a transfer's callbacks know of its body, as the loop looks at it.
struct BodyProgress {
  std::uint64_t received = 0;
  std::uint64_t length = 0;  ///< as told; 0: not known
};

/// An easy handle, and the multi handle that keeps its connections.
class TransferLoop {
 public:
  static constexpr std::uint64_t kLargePiece = std::uint64_t{256} << 10;  ///< bytes
  static constexpr int kLargePieceMs = 20;                                ///< waited for it, at most

  /// Throws "out_of_memory".
  TransferLoop();
  ~TransferLoop();
  TransferLoop(const TransferLoop&) = delete;
  TransferLoop& operator=(const TransferLoop&) = delete;

  /// To be given its options before run().
  CURL* handle() { return easy_; }
  struct Run {
    const BodyProgress& body;  ///< changes in the callbacks
    bool direct = false;       ///< no proxy is between us and the server
    std::stop_token stop;      ///< ends it with CURLE_ABORTED_BY_CALLBACK, in a quarter of a second at most
  };
  /// Until the exchange has ended.
  CURLcode run(const Run& run);
  /// In the callback that is given a body's last bytes: what follows them in their TLS record is known to OpenSSL
  /// alone. Such a connection is not used again.
  void look_behind_body();
  /// Options go, connections stay.
  void reset() { curl_easy_reset(easy_); }
  /// Bytes that nobody asked for would be read as the next answer: libcurl looks only whether the peer has closed. A
  /// late TLS session ticket looks the same and costs a connection.
  bool has_unread_bytes() const;

 private:
  struct Watched {
    curl_socket_t socket;
    int what;  ///< CURL_POLL_*
  };

  static int on_socket(CURL*, curl_socket_t socket, int what, void* self, void*);
  static int on_timer(CURLM*, long ms, void* self);
  static CURLcode on_tls_context(CURL*, void* context, void*);

  void act(curl_socket_t socket, int events);
  void wait(const Run& run);
  void go_on(const Run& run, curl_socket_t socket, int events);
  void expect(const Run& run);
  /// Null where the connection is plain or has ended.
  SSL* tls() const;
  bool timer_is_due() const;

  CURLM* multi_ = nullptr;
  CURL* easy_ = nullptr;
  std::vector<Watched> watched_;
  std::int64_t timer_boot_ms_ = -1;  ///< -1: none
  curl_socket_t used_ = CURL_SOCKET_BAD;
  bool large_ = false;  ///< the kernel was asked to wait for a large piece
};

}  // namespace tb::http
