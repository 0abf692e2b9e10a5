// A tar header that is accepted is written to a header that is read as the same entry; and any bytes as a stream, with
// an index made from the headers in it, are either checked to the end or refused, whatever the pieces they come in.
#include <optional>

#include "asset/content.h"
#include "asset/tar_header.h"
#include "asset/unpack.h"
#include "fuzz.h"

namespace {

using namespace tb;
using namespace tb::asset;

/// An index of what the stream's own headers say, where it is one that a manifest could hold.
std::optional<Content> index_of(ByteView stream) {
  Content content{.kind = Content::Kind::kTar};
  std::uint64_t at = 0;
  while (at < stream.size()) {
    const auto header = parse_tar_header(stream.subspan(at));
    if (!header) break;
    at += header->header_bytes;
    if (header->entry.is_directory) continue;
    if (header->entry.bytes > stream.size() - at) return std::nullopt;
    content.files.push_back(
        {.path = header->entry.path, .offset = at, .bytes = header->entry.bytes, .mode = header->entry.mode});
    at += header->entry.bytes + tar_padding(header->entry.bytes);
  }
  if (!validate(content, stream.size())) return std::nullopt;
  return content;
}

bool check(const Content& content, ByteView stream, std::size_t piece_bytes) {
  auto checker = StreamCheck::make(content, stream.size());
  if (!checker) return false;
  for (std::size_t at = 0; at < stream.size(); at += piece_bytes) {
    const ByteView rest = stream.subspan(at);
    if (!checker->write(rest.first(std::min(piece_bytes, rest.size())))) return false;
  }
  return checker->finish().has_value();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  const ByteView stream(data, bytes);
  const auto parsed = parse_tar_header(stream);
  FUZZ_CHECK(!parsed || parsed->header_bytes <= bytes);
  // Only what an index can name is ever written: a path of any other form agrees with none.
  if (parsed && is_relative_path(parsed->entry.path)) {
    if (const auto encoded = encode_tar_header(parsed->entry)) {
      const auto again = parse_tar_header(as_bytes(*encoded));
      FUZZ_CHECK(again.has_value());
      FUZZ_CHECK(again->entry == parsed->entry);
      FUZZ_CHECK(again->header_bytes == encoded->size());
    }
  }
  if (const auto content = index_of(stream)) {
    const bool whole = check(*content, stream, std::max<std::size_t>(1, bytes));
    FUZZ_CHECK(check(*content, stream, 7) == whole);
    FUZZ_CHECK(check(*content, stream, 512) == whole);
  }
  return 0;
}
