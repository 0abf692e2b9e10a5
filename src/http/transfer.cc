#include "http/transfer.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>

#include "base/fs.h"
#include "http/proxy_choice.h"
#include "http/sigpipe.h"

namespace tb::http {

namespace {

constexpr std::size_t kMaxHeaderBytes = 64 * 1024;
constexpr std::size_t kMaxHeaders = 200;
constexpr long kBufferBytes = 512 * 1024;
// Beneath any line that serves: a peer that lets a byte drop now and then is as good as silent.
constexpr long kStallBytesPerSecond = 128;

std::optional<std::string> environment(const std::string& name) {
  const char* value = std::getenv(name.c_str());
  return value ? std::optional<std::string>(value) : std::nullopt;
}

bool is_clean(std::string_view text) {
  return std::ranges::none_of(text, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
}

std::string url_part(CURLU* url, CURLUPart part) {
  char* text = nullptr;
  if (curl_url_get(url, part, &text, 0) != CURLUE_OK) return {};
  std::string out(text);
  curl_free(text);
  return out;
}

}  // namespace

Result<CheckedUrl> check_url(const SecretUrl& url, const AddressPolicy& policy) {
  const auto no = [&](std::string_view why) {
    return fail("url_refused", fmt::format("{}: {}", url.printable(), why));
  };
  const std::string& text = url.reveal();
  if (!std::ranges::all_of(text, [](char c) { return c > 0x20 && c < 0x7f; })) {
    return no("a URL holds printable ASCII only");
  }
  const std::unique_ptr<CURLU, decltype(&curl_url_cleanup)> parsed(curl_url(), curl_url_cleanup);
  if (!parsed || curl_url_set(parsed.get(), CURLUPART_URL, text.c_str(), CURLU_DISALLOW_USER) != CURLUE_OK) {
    return no("no URL that can be followed (userinfo is refused)");
  }
  CheckedUrl out;
  out.scheme = url_part(parsed.get(), CURLUPART_SCHEME);
  out.host = url_part(parsed.get(), CURLUPART_HOST);
  if (out.host.starts_with('[') && out.host.ends_with(']')) out.host = out.host.substr(1, out.host.size() - 2);
  if (out.scheme != "https" && out.scheme != "http") return no("only https URLs are followed");
  out.loopback_host = is_loopback_host(out.host);
  if (out.scheme == "http" && !out.loopback_host && !policy.insecure_http) {
    return no("plain http is refused for hosts other than loopback");
  }
  if ((is_address_literal(out.host) && !policy.allows(address_kind(out.host))) ||
      (out.loopback_host && !policy.loopback)) {
    return no("this address may not be reached from here");
  }
  return out;
}

Transfer::Transfer(const ClientConfig& config, const ClientRequest& request, const Client::OnHead& on_head,
                   const Client::Sink& sink)
    : config_(config), request_(request), on_head_(on_head), sink_(sink) {
  url_ = value_or_throw(check_url(request.url, config.policy));
  if (config.use_proxy_environment) proxy_ = proxy_for(url_.scheme, url_.host, environment);
  for (const auto& [name, value] : request.headers.entries()) {
    // curl sends "Name:" without a value only when it ends in a semicolon.
    add_header(value.empty() ? name + ";" : fmt::format("{}: {}", name, value));
  }
  // A file waits for the server's 100, so that a refusal comes before its bytes; small bodies go at once.
  const auto* pulled = std::get_if<PulledBody>(&request.body);
  if (pulled != nullptr ? !pulled->ask_first : !body_length()) add_header("Expect:");
  // Else curl would call every body a form.
  if (!request.headers.find("Content-Type")) add_header("Content-Type:");
  if (request.bearer) add_header("Authorization: Bearer " + request.bearer->reveal());
}

Transfer::~Transfer() {
  for (curl_slist* line = headers_; line; line = line->next) wipe(line->data, std::strlen(line->data));
  curl_slist_free_all(headers_);
  curl_slist_free_all(resolve_);
}

void Transfer::add_header(std::string line) {
  const bool clean = is_clean(line);
  curl_slist* longer = clean ? curl_slist_append(headers_, line.c_str()) : nullptr;
  wipe(line.data(), line.size());
  if (!clean) throw Error("internal", "a request's header field is malformed");
  if (!longer) throw Error("out_of_memory", "no memory for a request");
  headers_ = longer;
}

void Transfer::set_options(CURL* handle) {
  const auto set = [&](CURLoption option, auto value) {
    if (const CURLcode code = curl_easy_setopt(handle, option, value); code != CURLE_OK) {
      throw Error("internal", fmt::format("libcurl refuses an option: {}", curl_easy_strerror(code)));
    }
  };
  set(CURLOPT_ERRORBUFFER, curl_text_);
  set(CURLOPT_NOSIGNAL, 1L);
  set(CURLOPT_URL, request_.url.reveal().c_str());
  set(CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
  set(CURLOPT_PROTOCOLS_STR, "http,https");
  set(CURLOPT_FOLLOWLOCATION, 0L);
  // Parallel ranges go through connections of their own; HTTP/2 would put them all on one.
  set(CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
  set(CURLOPT_PATH_AS_IS, 1L);
  set(CURLOPT_USERAGENT, config_.user_agent.c_str());
  set(CURLOPT_HTTPHEADER, headers_);
  set(CURLOPT_PROXY, proxy_.c_str());
  set(CURLOPT_NOPROXY, "");
  for (const auto& entry : config_.resolve) resolve_ = curl_slist_append(resolve_, entry.c_str());
  if (resolve_) set(CURLOPT_RESOLVE, resolve_);
  set(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);

  set(CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
  set(CURLOPT_SSL_VERIFYPEER, 1L);
  set(CURLOPT_SSL_VERIFYHOST, 2L);
  if (!config_.ca_path.empty()) set(CURLOPT_CAINFO, config_.ca_path.c_str());
  if (!config_.ca_path.empty()) set(CURLOPT_CAPATH, static_cast<const char*>(nullptr));
  if (!config_.client_cert_path.empty()) set(CURLOPT_SSLCERT, config_.client_cert_path.c_str());
  if (!config_.client_key_path.empty()) set(CURLOPT_SSLKEY, config_.client_key_path.c_str());

  set(CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(config_.connect_timeout_ms));
  if (request_.total_timeout_ms > 0) set(CURLOPT_TIMEOUT_MS, static_cast<long>(request_.total_timeout_ms));
  set(CURLOPT_LOW_SPEED_LIMIT, kStallBytesPerSecond);
  set(CURLOPT_LOW_SPEED_TIME, std::max<long>(1, static_cast<long>((config_.stall_timeout_ms + 999) / 1000)));
  set(CURLOPT_BUFFERSIZE, kBufferBytes);
  set(CURLOPT_UPLOAD_BUFFERSIZE, kBufferBytes);

  set(CURLOPT_OPENSOCKETFUNCTION, &Transfer::on_socket);
  set(CURLOPT_OPENSOCKETDATA, this);
  set(CURLOPT_HEADERFUNCTION, &Transfer::on_header);
  set(CURLOPT_HEADERDATA, this);
  set(CURLOPT_WRITEFUNCTION, &Transfer::on_body);
  set(CURLOPT_WRITEDATA, this);
  set_body(handle);
}

void Transfer::set_body(CURL* handle) {
  const std::string* text = std::get_if<std::string>(&request_.body);
  if (const auto* secret = std::get_if<SecretString>(&request_.body)) text = &secret->reveal();
  if (const auto length = body_length()) {
    curl_easy_setopt(handle, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(handle, CURLOPT_READFUNCTION, &Transfer::on_read);
    curl_easy_setopt(handle, CURLOPT_READDATA, this);
    curl_easy_setopt(handle, CURLOPT_SEEKFUNCTION, &Transfer::on_seek);
    curl_easy_setopt(handle, CURLOPT_SEEKDATA, this);
    curl_easy_setopt(handle, CURLOPT_INFILESIZE_LARGE, static_cast<curl_off_t>(*length));
  } else if (text || request_.method == "POST") {
    curl_easy_setopt(handle, CURLOPT_POST, 1L);
    curl_easy_setopt(handle, CURLOPT_POSTFIELDS, text ? text->data() : "");
    curl_easy_setopt(handle, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(text ? text->size() : 0));
  } else if (request_.method == "HEAD") {
    curl_easy_setopt(handle, CURLOPT_NOBODY, 1L);
  }
  curl_easy_setopt(handle, CURLOPT_CUSTOMREQUEST, request_.method.c_str());
}

ClientResponse Transfer::run(TransferLoop& loop) {
  loop_ = &loop;
  CURL* const handle = loop.handle();
  set_options(handle);
  CURLcode code = CURLE_OK;
  {
    const SigpipeBlock block;
    code = loop.run({.body = body_, .direct = proxy_.empty(), .stop = request_.stop});
  }
  if (thrown_) std::rethrow_exception(thrown_);
  // A refused address is no fault if another one of the same name served.
  if (code != CURLE_OK && fault_) throw *fault_;
  long os_error = 0;
  curl_easy_getinfo(handle, CURLINFO_OS_ERRNO, &os_error);
  if (code != CURLE_OK && !ended_by_head_) throw_verdict(code, os_error);
  if (!head_told_ && !tell_head() && !ended_by_head_) {
    if (thrown_) std::rethrow_exception(thrown_);
    throw refused("answer_malformed", "the answer has no head");
  }
  return std::move(response_);
}

Error Transfer::refused(std::string_view reason, std::string_view what) const {
  return Error(reason, fmt::format("{}: {}", request_.url.printable(), what));
}

void Transfer::throw_verdict(CURLcode code, long os_error) const {
  std::string text = curl_easy_strerror(code);
  if (os_error != 0) text += fmt::format(" (errno {})", os_error);
  switch (code) {
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_INVALIDCERTSTATUS:
    case CURLE_SSL_PINNEDPUBKEYNOTMATCH:
      // OpenSSL's own words name certificates, never the URL.
      throw refused("tls_failed", curl_text_[0] != '\0' ? std::string_view(curl_text_) : std::string_view(text));
    case CURLE_URL_MALFORMAT:
    case CURLE_LOGIN_DENIED:
      throw refused("url_refused", text);
    case CURLE_UNSUPPORTED_PROTOCOL:  // the URL was checked before: this is what HTTP/0.9 gets
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_BAD_CONTENT_ENCODING:
      throw refused("answer_malformed", text);
    case CURLE_OUT_OF_MEMORY:
      // A header line beyond libcurl's own bound comes back as this too.
      throw refused(head_told_ || response_.status == 0 ? "out_of_memory" : "answer_malformed", text);
    case CURLE_ABORTED_BY_CALLBACK:
      throw refused("cancelled", "the request was cancelled");
    default:
      throw refused("network_unreachable", text);
  }
}

std::size_t Transfer::on_header(char* data, std::size_t size, std::size_t count, void* self) {
  auto* transfer = static_cast<Transfer*>(self);
  return transfer->header_line({data, size * count}) ? size * count : 0;
}

bool Transfer::header_line(std::string_view line) {
  header_bytes_ += line.size();
  if (header_bytes_ > kMaxHeaderBytes || response_.headers.entries().size() >= kMaxHeaders) {
    fault_ = refused("answer_malformed", "the answer's header is too large");
    return false;
  }
  while (line.ends_with('\n') || line.ends_with('\r')) line.remove_suffix(1);
  if (line.starts_with("HTTP/")) {
    // A new head: after 100 (Continue), say.
    const std::string_view code = line.substr(std::min(line.find(' ') + 1, line.size())).substr(0, 3);
    response_.status = 0;
    std::from_chars(code.data(), code.data() + code.size(), response_.status);
    response_.headers = {};
    return true;
  }
  if (line.empty()) return response_.status < 200 || head_told_ || tell_head();
  // After the body these are trailers: nobody here may take them for the answer's fields.
  if (head_told_) return true;
  const std::size_t colon = line.find(':');
  if (colon == std::string_view::npos) return true;
  std::string_view value = line.substr(colon + 1);
  const std::size_t from = std::min(value.find_first_not_of(" \t"), value.size());
  value = value.substr(from, value.find_last_not_of(" \t") + 1 - from);
  response_.headers.add(line.substr(0, colon), value);
  return true;
}

bool Transfer::tell_head() {
  if (response_.status < 200) return false;
  head_told_ = true;
  const std::string* length = response_.headers.find("Content-Length");
  if (response_.headers.count("Content-Length") > 1) {  // RFC 9112, 6.3: where it ends nobody can know
    fault_ = refused("answer_malformed", "the answer tells its length more than once");
    return false;
  }
  if (length != nullptr && !response_.headers.find("Transfer-Encoding")) {
    std::from_chars(length->data(), length->data() + length->size(), body_.length);
  }
  if (!on_head_) return true;
  try {
    if (on_head_(response_)) return true;
    ended_by_head_ = true;
  } catch (...) {
    thrown_ = std::current_exception();
  }
  return false;
}

std::size_t Transfer::on_body(char* data, std::size_t size, std::size_t count, void* self) {
  auto* transfer = static_cast<Transfer*>(self);
  return transfer->body_piece(as_bytes(std::string_view(data, size * count))) ? size * count : 0;
}

bool Transfer::body_piece(ByteView piece) {
  body_.received += piece.size();
  if (body_.received > request_.max_answer_bytes) {
    fault_ = refused("answer_too_large", fmt::format("the answer is longer than {} bytes", request_.max_answer_bytes));
    return false;
  }
  if (body_.received == body_.length) loop_->look_behind_body();
  try {
    if (sink_(piece)) return true;
    fault_ = refused("cancelled", "the transfer was ended by its receiver");
  } catch (...) {
    thrown_ = std::current_exception();
  }
  return false;
}

std::optional<std::uint64_t> Transfer::body_length() const {
  if (const auto* file = std::get_if<FileRange>(&request_.body)) return file->length;
  if (const auto* pulled = std::get_if<PulledBody>(&request_.body)) return pulled->length;
  return std::nullopt;
}

std::size_t Transfer::on_read(char* out, std::size_t size, std::size_t count, void* self) {
  auto* transfer = static_cast<Transfer*>(self);
  const auto wanted =
      static_cast<std::size_t>(std::min<std::uint64_t>(size * count, *transfer->body_length() - transfer->upload_at_));
  const MutableBytes into(reinterpret_cast<std::uint8_t*>(out), wanted);
  if (!transfer->read_body(into)) return CURL_READFUNC_ABORT;
  transfer->upload_at_ += wanted;
  return wanted;
}

bool Transfer::read_body(MutableBytes into) {
  if (const auto* pulled = std::get_if<PulledBody>(&request_.body)) {
    try {
      if (!into.empty()) pulled->read(upload_at_, into);
      return true;
    } catch (...) {
      thrown_ = std::current_exception();
      return false;
    }
  }
  const FileRange& file = std::get<FileRange>(request_.body);
  auto got = pread_full(file.fd, into, file.offset + upload_at_, "file to send");
  if (got && *got == into.size()) return true;
  fault_ = got ? Error("io_error", "the file to send ended early") : std::move(got.error());
  return false;
}

int Transfer::on_seek(void* self, curl_off_t offset, int origin) {
  auto* transfer = static_cast<Transfer*>(self);
  if (origin != SEEK_SET || offset < 0 || static_cast<std::uint64_t>(offset) > *transfer->body_length()) {
    return CURL_SEEKFUNC_FAIL;
  }
  transfer->upload_at_ = static_cast<std::uint64_t>(offset);
  return CURL_SEEKFUNC_OK;
}

curl_socket_t Transfer::on_socket(void* self, curlsocktype, curl_sockaddr* address) {
  auto* transfer = static_cast<Transfer*>(self);
  // A proxy is the operator's choice, wherever it stands; the target's address is then the proxy's business.
  if (transfer->proxy_.empty()) {
    const AddressKind kind = address_kind(&address->addr);
    // http was let through for a loopback name only: the name must mean it.
    const bool must_be_loopback = transfer->url_.scheme == "http" && !transfer->config_.policy.insecure_http;
    if (!transfer->config_.policy.allows(kind) || (must_be_loopback && kind != AddressKind::kLoopback)) {
      transfer->fault_ =
          transfer->refused("url_refused", "its name leads to an address that may not be reached from here");
      return CURL_SOCKET_BAD;
    }
  }
  return ::socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

}  // namespace tb::http
