// Wiping uses OPENSSL_cleanse, which the optimizer may not drop; std::string's small buffer is wiped in place too.
#include "base/secret.h"

#include <openssl/crypto.h>
#include <sys/mman.h>
#include <unistd.h>

#include <new>

namespace tb {

void wipe(void* p, std::size_t bytes) {
  if (bytes != 0) explicit_bzero(p, bytes);
}

bool equal_constant_time(ByteView a, ByteView b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

SecretString::SecretString(std::string text) : text_(text) {
  wipe(text.data(), text.size());
}
SecretString::~SecretString() {
  wipe(text_.data(), text_.size());
}
SecretString::SecretString(SecretString&& other) noexcept : text_(other.text_) {
  wipe(other.text_.data(), other.text_.size());
  other.text_.clear();
}
SecretString& SecretString::operator=(SecretString&& other) noexcept {
  if (this != &other) {
    wipe(text_.data(), text_.size());
    text_ = other.text_;
    wipe(other.text_.data(), other.text_.size());
    other.text_.clear();
  }
  return *this;
}

std::string SecretUrl::printable() const {
  std::string url = url_.reveal();
  url.resize(std::min(url.find_first_of("?#"), url.size()));
  const auto scheme = url.find("://");
  if (scheme == std::string::npos) return url;
  const auto host = scheme + 3;
  const auto path = std::min(url.find('/', host), url.size());
  const auto at = url.rfind('@', path);
  if (at != std::string::npos && at >= host) url.erase(host, at + 1 - host);
  return url;
}

WipedBuffer::WipedBuffer(std::size_t bytes, bool huge) : size_(bytes) {
  if (bytes == 0) return;
  constexpr std::size_t kHuge = std::size_t{2} << 20;
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  const bool want_huge = huge && bytes >= kHuge;
  mapped_ = (bytes + page - 1) / page * page;
  void* p = mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) throw std::bad_alloc();
  // Both are best effort: an old kernel without them only loses speed or a second line of defence.
  if (want_huge) madvise(p, mapped_, MADV_HUGEPAGE);
  madvise(p, mapped_, MADV_DONTDUMP);
  data_ = static_cast<std::uint8_t*>(p);
}

WipedBuffer::~WipedBuffer() {
  if (data_ == nullptr) return;
  wipe(data_, size_);
  munmap(data_, mapped_);
}

WipedBuffer::WipedBuffer(WipedBuffer&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      mapped_(std::exchange(other.mapped_, 0)) {}

WipedBuffer& WipedBuffer::operator=(WipedBuffer&& other) noexcept {
  if (this != &other) {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(mapped_, other.mapped_);
  }
  return *this;
}

}  // namespace tb
