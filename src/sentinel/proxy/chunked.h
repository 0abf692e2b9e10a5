// The chunked transfer coding, decoded step by step without copying, and strictly (RFC 9112 7.1): no bare LF, no blanks
// around a size, sizes of at most 15 hex digits, short extensions, a bounded trailer section. Extensions and trailers
// are checked and dropped: what we send on is encoded anew.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace tb::sentinel::proxy {

class ChunkedDecoder {
 public:
  enum class Kind { kNeedMore, kData, kEnd, kMalformed };
  struct Step {
    Kind kind = Kind::kNeedMore;
    std::size_t consumed = 0;    ///< bytes of the input that this step used up
    std::string_view data = {};  ///< body bytes, a part of the input, where kData
  };

  /// Takes as much of `input` as makes one step. Call again with the rest until kNeedMore (then with more input) or an
  /// end. After kEnd or kMalformed the object must not be used again.
  Step next(std::string_view input);

 private:
  enum class At { kSize, kExtension, kSizeLf, kData, kDataCr, kDataLf, kTrailer, kTrailerLine, kTrailerLf, kLastLf };

  Kind size_char(char c);
  Kind control_char(char c);

  At at_ = At::kSize;
  std::uint64_t left_ = 0;  ///< bytes of the current chunk, then of it still to come
  std::size_t digits_ = 0;
  std::size_t extra_ = 0;  ///< bytes of this extension, or of all trailers
};

}  // namespace tb::sentinel::proxy
