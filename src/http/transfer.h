// One exchange of the client: what libcurl is told, what its callbacks gather, and what its verdict means.
// Internal to http/.
#pragma once

#include <curl/curl.h>

#include <exception>
#include <memory>
#include <optional>
#include <string>

#include "http/client.h"
#include "http/transfer_loop.h"

namespace tb::http {

/// A URL taken apart and found fit to be followed.
struct CheckedUrl {
  std::string scheme;  ///< "http" or "https"
  std::string host;    ///< without brackets
  bool loopback_host = false;
};

/// "url_refused" for another scheme, userinfo, control characters, http where `policy` forbids it, or an address
/// literal that it forbids. The message holds the printable part only.
Result<CheckedUrl> check_url(const SecretUrl& url, const AddressPolicy& policy);

class Transfer {
 public:
  /// Throws "url_refused", or "internal" for a header that cannot be sent. All arguments outlive the object.
  Transfer(const ClientConfig& config, const ClientRequest& request, const Client::OnHead& on_head,
           const Client::Sink& sink);
  ~Transfer();
  Transfer(const Transfer&) = delete;
  Transfer& operator=(const Transfer&) = delete;

  ClientResponse run(TransferLoop& loop);

 private:
  static std::size_t on_header(char* data, std::size_t size, std::size_t count, void* self);
  static std::size_t on_body(char* data, std::size_t size, std::size_t count, void* self);
  static std::size_t on_read(char* out, std::size_t size, std::size_t count, void* self);
  static int on_seek(void* self, curl_off_t offset, int origin);
  static curl_socket_t on_socket(void* self, curlsocktype purpose, curl_sockaddr* address);

  void add_header(std::string line);
  void set_options(CURL* handle);
  void set_body(CURL* handle);
  /// Of a body that is read while it is sent.
  std::optional<std::uint64_t> body_length() const;
  bool read_body(MutableBytes into);
  bool header_line(std::string_view line);
  bool tell_head();
  bool body_piece(ByteView piece);
  [[noreturn]] void throw_verdict(CURLcode code, long os_error) const;
  Error refused(std::string_view reason, std::string_view what) const;

  const ClientConfig& config_;
  const ClientRequest& request_;
  const Client::OnHead& on_head_;
  const Client::Sink& sink_;
  CheckedUrl url_;
  std::string proxy_;
  curl_slist* headers_ = nullptr;
  curl_slist* resolve_ = nullptr;

  ClientResponse response_;
  std::size_t header_bytes_ = 0;
  BodyProgress body_;
  TransferLoop* loop_ = nullptr;
  std::uint64_t upload_at_ = 0;
  bool head_told_ = false;
  bool ended_by_head_ = false;
  std::optional<Error> fault_;  ///< why a callback ended the transfer
  std::exception_ptr thrown_;   ///< what the caller's function threw
  char curl_text_[CURL_ERROR_SIZE] = {};
};

}  // namespace tb::http
