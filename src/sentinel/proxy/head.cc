#include "sentinel/proxy/head.h"

#include <algorithm>
#include <array>
#include <bit>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

namespace tb::sentinel::proxy {
namespace {

constexpr Refusal bad(std::string_view message) {
  return {400, "bad_request", message};
}

constexpr std::array<bool, 256> kTokenChars = [] {
  std::array<bool, 256> table{};
  for (int c = '0'; c <= '9'; ++c) table[static_cast<std::size_t>(c)] = true;
  for (int c = 'a'; c <= 'z'; ++c) table[static_cast<std::size_t>(c)] = table[static_cast<std::size_t>(c - 32)] = true;
  for (const char c : std::string_view("!#$%&'*+-.^_`|~")) table[static_cast<unsigned char>(c)] = true;
  return table;
}();

bool is_token(std::string_view text) {
  bool good = !text.empty();
  for (const char c : text) good &= kTokenChars[static_cast<unsigned char>(c)];
  return good;
}

std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

/// Length of what may stand in a field's value (RFC 9110 5.5: visible characters, blanks, and bytes above ASCII) at the
/// beginning of `text`: no control byte.
std::size_t value_run(std::string_view text) {
  std::size_t at = 0;
#ifdef __SSE2__
  for (; at + 16 <= text.size(); at += 16) {
    const __m128i v = _mm_loadu_si128(reinterpret_cast<const __m128i*>(text.data() + at));
    const __m128i low = _mm_cmpeq_epi8(_mm_min_epu8(v, _mm_set1_epi8(0x1f)), v);
    const __m128i tab = _mm_cmpeq_epi8(v, _mm_set1_epi8('\t'));
    const __m128i bad = _mm_or_si128(_mm_andnot_si128(tab, low), _mm_cmpeq_epi8(v, _mm_set1_epi8(0x7f)));
    const int found = _mm_movemask_epi8(bad);
    if (found != 0) return at + static_cast<std::size_t>(std::countr_zero(static_cast<unsigned>(found)));
  }
#endif
  for (; at < text.size(); ++at) {
    const auto byte = static_cast<unsigned char>(text[at]);
    if ((byte < 0x20 && byte != '\t') || byte == 0x7f) break;
  }
  return at;
}

/// One line without its CRLF; the head always ends in an empty one.
std::string_view take_line(std::string_view& rest) {
  const std::size_t end = rest.find("\r\n");
  const std::string_view line = rest.substr(0, end);
  rest.remove_prefix(end + 2);
  return line;
}

/// Fields that were there before are written over: their memory is used again. `rest` ends in an empty line.
std::optional<Refusal> read_fields(std::string_view rest, Fields& fields) {
  std::size_t count = 0;
  for (; !rest.starts_with("\r\n"); rest.remove_prefix(2)) {
    if (rest.starts_with(' ') || rest.starts_with('\t')) return bad("folded header lines are not taken");
    std::size_t colon = 0;
    while (colon < rest.size() && kTokenChars[static_cast<unsigned char>(rest[colon])]) ++colon;
    if (colon == 0 || colon == rest.size() || rest[colon] != ':') return bad("a header line is malformed");
    const std::string_view name = rest.substr(0, colon);
    rest.remove_prefix(colon + 1);
    const std::string_view value = rest.substr(0, value_run(rest));
    rest.remove_prefix(value.size());
    if (!rest.starts_with("\r\n")) return bad("a header value holds a control byte");
    if (count == kMaxFields) return Refusal{431, "headers_too_large", "too many header lines"};
    if (count == fields.size()) fields.emplace_back();
    fields[count].name.assign(name);
    fields[count++].value.assign(trim(value));
  }
  fields.resize(count);
  if (rest.size() > 2) return bad("bytes after the head");
  return std::nullopt;
}

/// The fields that decide about a message, found in one pass.
struct Census {
  struct One {
    const Field* first = nullptr;
    std::size_t count = 0;
  };
  One host, expect, x_api_key, content_type, authorization, content_length, content_encoding, transfer_encoding;
};

Census take_census(const Fields& fields) {
  Census census;
  for (const Field& field : fields) {
    const auto is = [&](Census::One& one, std::string_view name) {
      if (!equal_fold(field.name, name)) return;
      if (one.count++ == 0) one.first = &field;
    };
    switch (field.name.size()) {  // no two of them are of one length
      case 4:
        is(census.host, "host");
        break;
      case 6:
        is(census.expect, "expect");
        break;
      case 9:
        is(census.x_api_key, "x-api-key");
        break;
      case 12:
        is(census.content_type, "content-type");
        break;
      case 13:
        is(census.authorization, "authorization");
        break;
      case 14:
        is(census.content_length, "content-length");
        break;
      case 16:
        is(census.content_encoding, "content-encoding");
        break;
      case 17:
        is(census.transfer_encoding, "transfer-encoding");
        break;
      default:
        break;
    }
  }
  return census;
}

/// Digits only, and few enough that no arithmetic on them can overflow.
std::optional<std::uint64_t> parse_length(std::string_view text) {
  if (text.empty() || text.size() > 18) return std::nullopt;
  std::uint64_t value = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return std::nullopt;
    value = value * 10 + static_cast<std::uint64_t>(c - '0');
  }
  return value;
}

struct Body {
  Framing framing = Framing::kNone;
  std::uint64_t length = 0;
};

std::expected<Body, Refusal> parse_framing(const Census& census, int minor) {
  const std::size_t lengths = census.content_length.count;
  const std::size_t encodings = census.transfer_encoding.count;
  if (lengths > 0 && encodings > 0) return std::unexpected(bad("both a length and a transfer encoding"));
  if (lengths > 1) return std::unexpected(bad("more than one content-length"));
  if (encodings > 1) return std::unexpected(bad("more than one transfer-encoding"));
  if (lengths == 1) {
    const auto length = parse_length(census.content_length.first->value);
    if (!length) return std::unexpected(bad("content-length is not a number"));
    return Body{Framing::kLength, *length};
  }
  if (encodings == 1) {
    if (minor == 0) return std::unexpected(bad("a transfer encoding in HTTP/1.0"));
    if (!equal_fold(census.transfer_encoding.first->value, "chunked")) {
      return std::unexpected(bad("a transfer encoding other than chunked"));
    }
    return Body{Framing::kChunked, 0};
  }
  return Body{};
}

bool wants_keep_alive(const Fields& fields, int minor) {
  bool keep = minor == 1;
  for (const std::string_view member : list_members(fields, "connection")) {
    if (equal_fold(member, "close")) return false;
    if (equal_fold(member, "keep-alive")) keep = true;
  }
  return keep;
}

bool is_host(std::string_view text) {
  return text.size() <= 261 && std::ranges::all_of(text, [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                  std::string_view("-._:[]~").find(c) != std::string_view::npos;
         });
}

std::optional<int> parse_version(std::string_view text) {
  if (text == "HTTP/1.1") return 1;
  if (text == "HTTP/1.0") return 0;
  return std::nullopt;
}

std::optional<Refusal> check_request_fields(const Census& census, int minor) {
  const std::size_t hosts = census.host.count;
  if (hosts > 1 || (hosts == 0 && minor == 1)) return bad("exactly one host header is needed");
  if (hosts == 1 && !is_host(census.host.first->value)) return bad("the host header is malformed");
  for (const Census::One* once :
       {&census.authorization, &census.x_api_key, &census.content_type, &census.content_encoding, &census.expect}) {
    if (once->count > 1) return bad("a header that may stand once stands twice");
  }
  if (census.expect.count == 1 && !equal_fold(census.expect.first->value, "100-continue")) {
    return Refusal{417, "expectation_failed", "only 100-continue can be expected"};
  }
  return std::nullopt;
}

}  // namespace

const Field* find_field(const Fields& fields, std::string_view name) {
  const auto it = std::ranges::find_if(fields, [&](const Field& field) { return equal_fold(field.name, name); });
  return it == fields.end() ? nullptr : &*it;
}

std::vector<std::string_view> list_members(const Fields& fields, std::string_view name) {
  std::vector<std::string_view> out;
  for (const Field& field : fields) {
    if (!equal_fold(field.name, name)) continue;
    std::string_view rest = field.value;
    while (!rest.empty()) {
      const std::size_t comma = rest.find(',');
      const std::string_view member = trim(rest.substr(0, comma));
      if (!member.empty()) out.push_back(member);
      rest = comma == std::string_view::npos ? std::string_view() : rest.substr(comma + 1);
    }
  }
  return out;
}

HeadEnd find_head_end(std::string_view bytes, std::size_t known) {
  const std::string_view window = bytes.substr(0, kMaxHeadBytes);
  for (std::size_t at = window.find('\n', known); at != std::string_view::npos; at = window.find('\n', at + 1)) {
    if (at == 0 || window[at - 1] != '\r') return {HeadEnd::kBareLf, 0};
    if (at >= 3 && window[at - 2] == '\n') return {HeadEnd::kFound, at + 1};
    if (at == 1) return {HeadEnd::kBareLf, 0};  // an empty line before the request line
  }
  return {bytes.size() >= kMaxHeadBytes ? HeadEnd::kTooLarge : HeadEnd::kNeedMore, 0};
}

std::optional<Refusal> read_request_head(std::string_view bytes, RequestHead& head) {
  if (!bytes.ends_with("\r\n\r\n")) return bad("the head does not end");
  std::string_view rest = bytes;
  const std::string_view line = take_line(rest);
  const std::size_t first = line.find(' ');
  const std::size_t last = line.rfind(' ');
  if (first == std::string_view::npos || last <= first) return bad("the request line is malformed");
  head.method.assign(line.substr(0, first));
  head.target.assign(line.substr(first + 1, last - first - 1));
  const auto minor = parse_version(line.substr(last + 1));
  if (!minor) return Refusal{505, "version_not_supported", "HTTP/1.0 or HTTP/1.1 is needed"};
  head.minor = *minor;
  if (!is_token(head.method) || head.method.size() > 32) return bad("the method is malformed");
  if (head.target.empty() || head.target.find(' ') != std::string::npos ||
      value_run(head.target) != head.target.size()) {
    return bad("the request target is malformed");
  }
  if (const auto refusal = read_fields(rest, head.fields)) return refusal;
  const Census census = take_census(head.fields);
  if (const auto refusal = check_request_fields(census, head.minor)) return refusal;
  const auto body = parse_framing(census, head.minor);
  if (!body) return body.error();
  head.framing = body->framing;
  head.length = body->length;
  head.keep_alive = wants_keep_alive(head.fields, head.minor);
  head.expects_continue = head.minor == 1 && census.expect.count > 0;
  return std::nullopt;
}

std::optional<Refusal> read_response_head(std::string_view bytes, std::string_view method, ResponseHead& head) {
  const auto broken = [](std::string_view message) { return Refusal{502, "upstream_malformed", message}; };
  if (!bytes.ends_with("\r\n\r\n")) return broken("the head does not end");
  std::string_view rest = bytes;
  const std::string_view line = take_line(rest);
  if (line.size() < 12 || line[8] != ' ' || (line.size() > 12 && line[12] != ' '))
    return broken("the status line is malformed");
  const auto minor = parse_version(line.substr(0, 8));
  const auto status = parse_length(line.substr(9, 3));
  if (!minor || !status || *status < 100 || *status > 599) return broken("the status line is malformed");
  head.minor = *minor;
  head.status = static_cast<int>(*status);
  if (const auto fault = read_fields(rest, head.fields)) return broken(fault->message);
  const auto body = parse_framing(take_census(head.fields), head.minor);
  if (!body) return broken(body.error().message);
  head.keep_alive = wants_keep_alive(head.fields, head.minor);
  head.framing = Framing::kNone;
  head.length = 0;
  if (head.status < 200 || head.status == 204 || head.status == 304 || method == "HEAD") return std::nullopt;
  head.framing = body->framing;
  head.length = body->length;
  if (head.framing == Framing::kNone) {
    head.framing = Framing::kUntilClose;
    head.keep_alive = false;
  }
  return std::nullopt;
}

std::expected<RequestHead, Refusal> parse_request_head(std::string_view bytes) {
  RequestHead head;
  if (const auto refusal = read_request_head(bytes, head)) return std::unexpected(*refusal);
  return head;
}

std::expected<ResponseHead, Refusal> parse_response_head(std::string_view bytes, std::string_view method) {
  ResponseHead head;
  if (const auto refusal = read_response_head(bytes, method, head)) return std::unexpected(*refusal);
  return head;
}

}  // namespace tb::sentinel::proxy
