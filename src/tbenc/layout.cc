#include "tbenc/layout.h"

#include <fmt/format.h>

#include "tbenc/header.h"

namespace tb::tbenc {
namespace {

Result<> check_chunk_bytes(std::uint32_t chunk_bytes) {
  if (chunk_bytes == 0 || chunk_bytes > kMaxChunkBytes) {
    return fail("chunk_bytes_invalid",
                fmt::format("a chunk size of {} bytes is outside 1 to {}", chunk_bytes, kMaxChunkBytes));
  }
  return {};
}

constexpr std::uint64_t stride(std::uint32_t chunk_bytes) {
  return std::uint64_t{chunk_bytes} + kRecordOverhead;
}

}  // namespace

Result<Layout> Layout::from_plaintext(std::uint64_t plaintext_bytes, std::uint32_t chunk_bytes) {
  TRY(check_chunk_bytes(chunk_bytes));
  const std::uint64_t records = plaintext_bytes / chunk_bytes + (plaintext_bytes % chunk_bytes != 0 ? 1 : 0);
  std::uint64_t total = 0;
  if (__builtin_mul_overflow(records, std::uint64_t{kRecordOverhead}, &total) ||
      __builtin_add_overflow(total, plaintext_bytes, &total) ||
      __builtin_add_overflow(total, std::uint64_t{kHeaderBytes}, &total) || total > kMaxFileBytes) {
    return fail("size_overflow", fmt::format("{} bytes of plaintext do not fit in a file", plaintext_bytes));
  }
  return Layout(plaintext_bytes, chunk_bytes);
}

Result<Layout> Layout::from_ciphertext(std::uint64_t ciphertext_bytes, std::uint32_t chunk_bytes) {
  TRY(check_chunk_bytes(chunk_bytes));
  if (ciphertext_bytes > kMaxFileBytes) {
    return fail("size_overflow", fmt::format("{} bytes are more than a file can hold", ciphertext_bytes));
  }
  if (ciphertext_bytes < kHeaderBytes) {
    return fail("header_malformed",
                fmt::format("the file has {} bytes, a header has {}", ciphertext_bytes, kHeaderBytes));
  }
  const std::uint64_t body = ciphertext_bytes - kHeaderBytes;
  const std::uint64_t rest = body % stride(chunk_bytes);
  if (rest != 0 && rest <= kRecordOverhead) {
    return fail("record_truncated",
                fmt::format("the last record has {} bytes, the least is {}", rest, kRecordOverhead + 1));
  }
  const std::uint64_t full_bytes = body / stride(chunk_bytes) * chunk_bytes;
  return Layout(full_bytes + (rest == 0 ? 0 : rest - kRecordOverhead), chunk_bytes);
}

std::uint64_t Layout::ciphertext_bytes() const {
  return kHeaderBytes + plaintext_bytes_ + chunk_count() * kRecordOverhead;
}

std::uint64_t Layout::chunk_count() const {
  return plaintext_bytes_ / chunk_bytes_ + (plaintext_bytes_ % chunk_bytes_ != 0 ? 1 : 0);
}

std::uint64_t Layout::record_offset(std::uint64_t index) const {
  return kHeaderBytes + index * stride(chunk_bytes_);
}

std::uint64_t Layout::record_bytes(std::uint64_t index) const {
  return std::uint64_t{chunk_plain_bytes(index)} + kRecordOverhead;
}

std::uint32_t Layout::chunk_plain_bytes(std::uint64_t index) const {
  const std::uint64_t left = plaintext_bytes_ - plain_offset(index);
  return left < chunk_bytes_ ? static_cast<std::uint32_t>(left) : chunk_bytes_;
}

std::uint64_t Layout::plain_offset(std::uint64_t index) const {
  return index * chunk_bytes_;
}

Result<> Layout::check_file_bytes(std::uint64_t actual_bytes) const {
  const std::uint64_t expected = ciphertext_bytes();
  if (actual_bytes < expected) {
    return fail("ciphertext_truncated", fmt::format("the file has {} bytes of {}", actual_bytes, expected));
  }
  if (actual_bytes > expected) {
    return fail("trailing_bytes", fmt::format("{} bytes follow the last record", actual_bytes - expected));
  }
  return {};
}

}  // namespace tb::tbenc
