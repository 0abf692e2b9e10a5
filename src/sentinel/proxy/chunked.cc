#include "sentinel/proxy/chunked.h"

#include <algorithm>

namespace tb::sentinel::proxy {
namespace {

constexpr std::size_t kMaxSizeDigits = 15;
constexpr std::size_t kMaxExtensionBytes = 256;
constexpr std::size_t kMaxTrailerBytes = 8192;

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

bool is_text(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte == '\t' || (byte >= 0x20 && byte != 0x7f);
}

}  // namespace

ChunkedDecoder::Kind ChunkedDecoder::size_char(char c) {
  if (const int digit = hex_digit(c); digit >= 0) {
    if (++digits_ > kMaxSizeDigits) return Kind::kMalformed;
    left_ = left_ * 16 + static_cast<std::uint64_t>(digit);
    return Kind::kNeedMore;
  }
  if (digits_ == 0) return Kind::kMalformed;
  if (c == ';') {
    at_ = At::kExtension;
    extra_ = 0;
    return Kind::kNeedMore;
  }
  if (c != '\r') return Kind::kMalformed;
  at_ = At::kSizeLf;
  return Kind::kNeedMore;
}

ChunkedDecoder::Kind ChunkedDecoder::control_char(char c) {
  switch (at_) {
    case At::kSize:
      return size_char(c);
    case At::kExtension:
      if (c == '\r') {
        at_ = At::kSizeLf;
      } else if (!is_text(c) || ++extra_ > kMaxExtensionBytes) {
        return Kind::kMalformed;
      }
      return Kind::kNeedMore;
    case At::kSizeLf:
      if (c != '\n') return Kind::kMalformed;
      extra_ = 0;
      at_ = left_ == 0 ? At::kTrailer : At::kData;
      return Kind::kNeedMore;
    case At::kDataCr:
      if (c != '\r') return Kind::kMalformed;
      at_ = At::kDataLf;
      return Kind::kNeedMore;
    case At::kDataLf:
      if (c != '\n') return Kind::kMalformed;
      at_ = At::kSize;
      left_ = 0;
      digits_ = 0;
      return Kind::kNeedMore;
    case At::kTrailer:  // at the start of a line
      if (c == '\r') {
        at_ = At::kLastLf;
        return Kind::kNeedMore;
      }
      if (c == ' ' || c == '\t' || c == ':') return Kind::kMalformed;
      at_ = At::kTrailerLine;
      [[fallthrough]];
    case At::kTrailerLine:
      if (c == '\r') {
        at_ = At::kTrailerLf;
      } else if (!is_text(c)) {
        return Kind::kMalformed;
      }
      return ++extra_ > kMaxTrailerBytes ? Kind::kMalformed : Kind::kNeedMore;
    case At::kTrailerLf:
      if (c != '\n') return Kind::kMalformed;
      at_ = At::kTrailer;
      return Kind::kNeedMore;
    case At::kLastLf:
      return c == '\n' ? Kind::kEnd : Kind::kMalformed;
    case At::kData:
      break;
  }
  return Kind::kMalformed;
}

ChunkedDecoder::Step ChunkedDecoder::next(std::string_view input) {
  std::size_t used = 0;
  while (used < input.size()) {
    if (at_ == At::kData) {
      const auto bytes = static_cast<std::size_t>(std::min<std::uint64_t>(left_, input.size() - used));
      left_ -= bytes;
      if (left_ == 0) at_ = At::kDataCr;
      return {Kind::kData, used + bytes, input.substr(used, bytes)};
    }
    const Kind kind = control_char(input[used++]);
    if (kind != Kind::kNeedMore) return {kind, used, {}};
  }
  return {Kind::kNeedMore, used, {}};
}

}  // namespace tb::sentinel::proxy
