// The check value of CRC-64/NVME's definition, Azure's own in its SDK's tests, and pieces of any length.
#include "base/crc64.h"

#include <gtest/gtest.h>

namespace tb {
namespace {

std::uint64_t bit_by_bit(ByteView bytes) {
  std::uint64_t state = ~std::uint64_t{0};
  for (const std::uint8_t byte : bytes) {
    state ^= byte;
    for (int bit = 0; bit < 8; ++bit) state = (state >> 1) ^ ((state & 1) != 0 ? 0x9a6c9329ac4bc9b5 : 0);
  }
  return ~state;
}

TEST(Crc64, IsTheOneThatIsPublished) {
  Crc64 check;
  check.update(as_bytes("123456789"));
  EXPECT_EQ(check.value(), 0xae8b14860a799888);
  Crc64 azure;
  azure.update(as_bytes("Hello Azure!"));
  EXPECT_EQ(to_base64(azure.bytes()), "DtjZpL9/o8c=");
  EXPECT_EQ(Crc64().value(), 0U);
}

TEST(Crc64, PiecesOfAnyLengthGiveTheSame) {
  Bytes bytes(1000);
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::uint8_t>(i * i + i / 7);
  const std::uint64_t whole = bit_by_bit(bytes);
  for (std::size_t piece = 1; piece < 200; ++piece) {
    Crc64 crc;
    for (std::size_t at = 0; at < bytes.size(); at += piece) {
      crc.update(ByteView(bytes).subspan(at, std::min(piece, bytes.size() - at)));
    }
    EXPECT_EQ(crc.value(), whole) << piece;
  }
}

}  // namespace
}  // namespace tb
