// Values that must not leak: move-only, wiped when they die, without <<, formatter or ==. The bytes come out by
// reveal() only; scripts/check-secrets.py lists the files that may say it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/bytes.h"

namespace tb {

/// Overwrites memory in a way the compiler must keep.
void wipe(void* p, std::size_t bytes);

/// True if equal, in time that depends on the lengths only.
bool equal_constant_time(ByteView a, ByteView b);
inline bool equal_constant_time(std::string_view a, std::string_view b) {
  return equal_constant_time(as_bytes(a), as_bytes(b));
}

/// N secret bytes, inline.
template <std::size_t N>
class Secret {
 public:
  Secret() = default;
  explicit Secret(std::span<const std::uint8_t, N> bytes) { std::copy(bytes.begin(), bytes.end(), bytes_.begin()); }
  ~Secret() { wipe(bytes_.data(), N); }
  Secret(Secret&& other) noexcept : bytes_(other.bytes_) { wipe(other.bytes_.data(), N); }
  Secret& operator=(Secret&& other) noexcept {
    if (this != &other) {
      bytes_ = other.bytes_;
      wipe(other.bytes_.data(), N);
    }
    return *this;
  }
  Secret(const Secret&) = delete;
  Secret& operator=(const Secret&) = delete;
  bool operator==(const Secret&) const = delete;

  std::span<const std::uint8_t, N> reveal() const { return bytes_; }
  std::span<std::uint8_t, N> reveal_mutable() { return bytes_; }
  Secret clone() const { return Secret(reveal()); }

 private:
  std::array<std::uint8_t, N> bytes_{};
};

using FileKey = Secret<32>;

/// A secret text of any length: token, password, private key in PEM.
class SecretString {
 public:
  SecretString() = default;
  explicit SecretString(std::string text);
  ~SecretString();
  SecretString(SecretString&& other) noexcept;
  SecretString& operator=(SecretString&& other) noexcept;
  SecretString(const SecretString&) = delete;
  SecretString& operator=(const SecretString&) = delete;
  bool operator==(const SecretString&) const = delete;

  const std::string& reveal() const { return text_; }
  bool empty() const { return text_.empty(); }
  SecretString clone() const { return SecretString(text_); }

 private:
  std::string text_;
};

/// A URL whose query may hold a signature. printable() gives scheme, host and path only.
class SecretUrl {
 public:
  SecretUrl() = default;
  explicit SecretUrl(std::string url) : url_(std::move(url)) {}
  const std::string& reveal() const { return url_.reveal(); }
  std::string printable() const;
  bool empty() const { return url_.empty(); }
  SecretUrl clone() const { return SecretUrl(url_.reveal()); }

 private:
  SecretString url_;
};

/// A heap buffer for plaintext: excluded from core dumps where the kernel allows, wiped and unmapped at its end.
/// With `huge`, sizes of 2 MiB and more ask for transparent huge pages (first touch is 5 to 10 times cheaper).
class WipedBuffer {
 public:
  WipedBuffer() = default;
  explicit WipedBuffer(std::size_t bytes, bool huge = true);
  ~WipedBuffer();
  WipedBuffer(WipedBuffer&& other) noexcept;
  WipedBuffer& operator=(WipedBuffer&& other) noexcept;
  WipedBuffer(const WipedBuffer&) = delete;
  WipedBuffer& operator=(const WipedBuffer&) = delete;

  std::uint8_t* data() { return data_; }
  const std::uint8_t* data() const { return data_; }
  std::size_t size() const { return size_; }
  MutableBytes span() { return {data_, size_}; }
  ByteView view() const { return {data_, size_}; }

 private:
  std::uint8_t* data_ = nullptr;
  std::size_t size_ = 0;
  std::size_t mapped_ = 0;
};

}  // namespace tb
