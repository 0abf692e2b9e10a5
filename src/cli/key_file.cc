#include "cli/key_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace tb::cli {
namespace {

constexpr std::size_t kMaxKeyFileBytes = 4096;
constexpr std::string_view kClaimStart = "# asset ";

// From the first key on, a crash must not write memory to a disk.
void forbid_core_dumps() {
  const struct rlimit none{0, 0};
  setrlimit(RLIMIT_CORE, &none);
}

std::string_view first_line(std::string_view text) {
  std::string_view line = text.substr(0, text.find('\n'));
  if (line.ends_with('\r')) line.remove_suffix(1);
  return line;
}

FileKey key_from_text(std::string_view text, const std::string& name) {
  const std::string_view line = first_line(text);
  Result<Bytes> bytes = from_hex(line);
  if (!bytes || bytes->size() != 32) {
    throw Error("key_file_malformed", fmt::format("{}: the first line is not 64 hex digits", name));
  }
  FileKey key{std::span<const std::uint8_t, 32>(bytes->data(), 32)};
  wipe(bytes->data(), bytes->size());
  return key;
}

// The claim line of a key file's text, or empty.
std::string_view claim_in(std::string_view text) {
  std::size_t at = text.find('\n');
  while (at != std::string_view::npos) {
    std::string_view line = first_line(text.substr(at + 1));
    if (line.starts_with(kClaimStart)) return line;
    at = text.find('\n', at + 1);
  }
  return {};
}

std::string claim_line(const std::string& asset_id, const tbenc::NoncePrefix& prefix) {
  return fmt::format("{}{} prefix {}\n", kClaimStart, asset_id, to_hex(prefix));
}

SecretString key_line(const FileKey& key) {
  return SecretString(to_hex(key.reveal()) + "\n");
}

std::string read_stdin_line() {
  std::string text(kMaxKeyFileBytes, '\0');
  const std::size_t got = value_or_throw(
      read_full(STDIN_FILENO, {reinterpret_cast<std::uint8_t*>(text.data()), text.size()}, "standard input"));
  text.resize(got);
  return text;
}

void require_private(int fd, const std::string& path) {
  struct stat st{};
  if (fstat(fd, &st) != 0) throw error_from_errno(errno, path);
  if (!S_ISREG(st.st_mode)) throw Error("key_file_malformed", path + " is not a regular file");
  if ((st.st_mode & 077) != 0) {
    throw Error("file_mode_unsafe", fmt::format("{} can be read or written by others (mode {:04o})", path,
                                                static_cast<unsigned>(st.st_mode & 07777)));
  }
}

template <std::size_t N>
std::array<std::uint8_t, N> base64url_line(std::string_view text, std::string_view reason, const std::string& path) {
  Result<Bytes> bytes = from_base64url(first_line(text));
  if (!bytes || bytes->size() != N) {
    throw Error(reason, fmt::format("{}: the first line is not the base64url of {} bytes", path, N));
  }
  std::array<std::uint8_t, N> out{};
  std::copy(bytes->begin(), bytes->end(), out.begin());
  wipe(bytes->data(), bytes->size());
  return out;
}

}  // namespace

FileKey read_key_file(const std::string& path) {
  forbid_core_dumps();
  if (path == "-") return key_from_text(SecretString(read_stdin_line()).reveal(), "standard input");
  return key_from_text(value_or_throw(read_secret_file(path, kMaxKeyFileBytes)).reveal(), path);
}

bool key_file_serves(const std::string& path, const std::string& prefix) {
  const auto text = read_secret_file(path, kMaxKeyFileBytes);
  if (!text && text.error().code() == Code::kNotFound) return false;
  if (!text) throw Error(text.error());
  return claim_in(text->reveal()).ends_with(" prefix " + prefix);
}

FileKey key_from_hex(std::string_view text) {
  return key_from_text(text, "--key-hex");
}

void make_key_file(const std::string& path) {
  value_or_throw(write_file_atomically(path, key_line(random_key()).reveal(), 0600, false));
}

EncryptionKey EncryptionKey::take(const std::string& path, const std::string& asset_id,
                                  const tbenc::NoncePrefix& prefix) {
  if (path == "-") {
    throw Error("usage", "encrypt cannot take its key from standard input: a key file remembers what it served");
  }
  forbid_core_dumps();
  Result<Fd> existing = open_file(path, O_RDWR);
  if (!existing && existing.error().code() == Code::kNotFound) {
    FileKey key = random_key();
    AtomicFile file = value_or_throw(AtomicFile::create(path, 0600, false));
    const SecretString text(key_line(key).reveal() + claim_line(asset_id, prefix));
    value_or_throw(write_full(file.fd(), as_bytes(text.reveal()), path));
    return {std::move(key), std::move(file)};
  }
  const Fd fd = value_or_throw(std::move(existing));
  require_private(fd.get(), path);
  if (flock(fd.get(), LOCK_EX) != 0) throw error_from_errno(errno, path);
  std::string buffer(kMaxKeyFileBytes, '\0');
  const std::size_t got =
      value_or_throw(pread_full(fd.get(), {reinterpret_cast<std::uint8_t*>(buffer.data()), buffer.size()}, 0, path));
  buffer.resize(got);
  const SecretString text(std::move(buffer));
  FileKey key = key_from_text(text.reveal(), path);
  if (const std::string_view claim = claim_in(text.reveal()); !claim.empty()) {
    throw Error("key_already_used", fmt::format("{} has served an encryption already ({})", path, claim.substr(2)));
  }
  const std::string line = (text.reveal().ends_with('\n') ? "" : "\n") + claim_line(asset_id, prefix);
  value_or_throw(pwrite_full(fd.get(), as_bytes(line), got, path));
  if (fsync(fd.get()) != 0) throw error_from_errno(errno, path);
  return {std::move(key), std::nullopt};
}

void EncryptionKey::commit() {
  if (new_file_) value_or_throw(new_file_->commit());
}

namespace {

void write_pair(const std::string& path, const SecretString& private_key, std::string_view public_key) {
  value_or_throw(write_file_atomically(path, private_key.reveal(), 0600, false));
  Result<> published = write_file_atomically(path + ".pub", public_key, 0644, false);
  if (!published) {
    unlink(path.c_str());
    throw std::move(published.error());
  }
}

}  // namespace

Ed25519PublicKey make_signing_pair(const std::string& path) {
  const Ed25519PrivateKey key = Ed25519PrivateKey::generate();
  write_pair(path, SecretString(to_base64url(key.seed().reveal()) + "\n"), to_base64url(key.public_key()) + "\n");
  return key.public_key();
}

oms::PublicKey make_oms_pair(const std::string& path) {
  const oms::SigningKey key = oms::SigningKey::generate();
  write_pair(path, key.pem(), key.public_key().pem());
  return key.public_key();
}

Ed25519PrivateKey read_signing_key(const std::string& path) {
  const SecretString text = value_or_throw(read_secret_file(path, kMaxKeyFileBytes));
  std::array<std::uint8_t, 32> seed = base64url_line<32>(text.reveal(), "signing_key_malformed", path);
  Secret<32> secret{std::span<const std::uint8_t, 32>(seed)};
  wipe(seed.data(), seed.size());
  return Ed25519PrivateKey(std::move(secret));
}

Ed25519PublicKey read_public_key(const std::string& path) {
  return base64url_line<32>(value_or_throw(read_small_file(path, kMaxKeyFileBytes)), "public_key_malformed", path);
}

}  // namespace tb::cli
