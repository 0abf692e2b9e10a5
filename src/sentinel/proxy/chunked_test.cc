// The chunked coding, whole and byte by byte: both ways must see the same body, and the same refusals.
#include "sentinel/proxy/chunked.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>

namespace tb::sentinel::proxy {
namespace {

struct Outcome {
  ChunkedDecoder::Kind kind = ChunkedDecoder::Kind::kNeedMore;
  std::string body;
  std::string left;  ///< bytes after the end
  bool operator==(const Outcome&) const = default;
};

Outcome decode(std::string_view input, std::size_t piece_bytes) {
  ChunkedDecoder decoder;
  Outcome out;
  for (std::size_t at = 0; at < input.size(); at += piece_bytes) {
    std::string_view piece = input.substr(at, piece_bytes);
    while (true) {
      const auto step = decoder.next(piece);
      out.kind = step.kind;
      out.body += step.data;
      piece.remove_prefix(step.consumed);
      if (step.kind != ChunkedDecoder::Kind::kData) break;
    }
    if (out.kind != ChunkedDecoder::Kind::kNeedMore) {
      out.left = std::string(piece) + std::string(input.substr(std::min(at + piece_bytes, input.size())));
      return out;
    }
    EXPECT_TRUE(piece.empty());
  }
  return out;
}

Outcome decode_all_ways(std::string_view input) {
  const Outcome whole = decode(input, input.size());
  for (const std::size_t piece : {1U, 2U, 3U, 7U}) {
    const Outcome other = decode(input, piece);
    EXPECT_EQ(static_cast<int>(other.kind), static_cast<int>(whole.kind)) << input;
    EXPECT_EQ(other.body, whole.body) << input;
  }
  return whole;
}

TEST(ProxyChunked, Bodies) {
  const auto body = [](std::string_view input) {
    const Outcome out = decode_all_ways(input);
    EXPECT_EQ(out.kind, ChunkedDecoder::Kind::kEnd) << input;
    return out.body;
  };
  EXPECT_EQ(body("0\r\n\r\n"), "");
  EXPECT_EQ(body("5\r\nhello\r\n0\r\n\r\n"), "hello");
  EXPECT_EQ(body("5;name=value\r\nhello\r\n6;x\r\n world\r\n000\r\n\r\n"), "hello world");
  EXPECT_EQ(body("A\r\n0123456789\r\n0\r\nX-Trailer: y\r\nOther: z\r\n\r\n"), "0123456789");
  EXPECT_EQ(body("2\r\n\r\n\r\n0\r\n\r\n"), "\r\n");
}

TEST(ProxyChunked, BytesAfterTheEndAreNotTaken) {
  EXPECT_EQ(decode("0\r\n\r\nGET / HTTP/1.1", 100).left, "GET / HTTP/1.1");
}

TEST(ProxyChunked, Refusals) {
  for (const std::string& input : {std::string("\r\nhello"),
                                   std::string(" 5\r\nhello\r\n"),
                                   std::string("5 \r\nhello\r\n"),
                                   std::string("+5\r\nhello\r\n"),
                                   std::string("-5\r\nhello\r\n"),
                                   std::string("0x5\r\nhello\r\n"),
                                   std::string("5\nhello\n0\n\n"),
                                   std::string("5\r\nhello\n0\r\n\r\n"),
                                   std::string("5\r\nhelloX\r\n0\r\n\r\n"),
                                   std::string("5\r\nhello0\r\n\r\n"),
                                   std::string("5\r\nhello\r\r\n0\r\n\r\n"),
                                   std::string("5;a\nb\r\nhello\r\n"),
                                   std::string("5;\x01\r\nhello\r\n"),
                                   std::string("5\rhello"),
                                   std::string("FFFFFFFFFFFFFFFF\r\n"),
                                   std::string("0000000000000005\r\nhello\r\n"),
                                   std::string("0\r\n folded\r\n\r\n"),
                                   std::string("0\r\n: x\r\n\r\n"),
                                   std::string("0\r\nX: y\nZ: a\r\n\r\n"),
                                   std::string("0\r\n\rX"),
                                   std::string("g\r\n"),
                                   "5;" + std::string(300, 'a') + "\r\nhello\r\n",
                                   "0\r\nX: " + std::string(9000, 'a') + "\r\n\r\n"}) {
    EXPECT_EQ(decode_all_ways(input).kind, ChunkedDecoder::Kind::kMalformed) << input.substr(0, 40);
  }
}

TEST(ProxyChunked, ACutBodyIsNoEnd) {
  const std::string whole = "5\r\nhello\r\n0\r\n\r\n";
  for (std::size_t bytes = 1; bytes < whole.size(); ++bytes) {
    EXPECT_EQ(decode(whole.substr(0, bytes), 100).kind, ChunkedDecoder::Kind::kNeedMore) << bytes;
  }
}

}  // namespace
}  // namespace tb::sentinel::proxy
