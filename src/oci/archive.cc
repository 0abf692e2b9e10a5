#include "oci/archive.h"

#include <fcntl.h>

#include <algorithm>
#include <set>

#include "oci/layer.h"
#include "oci/layout.h"
#include "oci/reference.h"

namespace tb::oci {
namespace {

constexpr std::size_t kBlockBytes = 512;
constexpr std::size_t kMaxArchiveEntries = 100'000;
constexpr std::size_t kPieceBytes = std::size_t{256} << 10;
constexpr std::string_view kBlobs = "blobs/sha256/";

std::string_view field(ByteView block, std::size_t at, std::size_t bytes) {
  const std::string_view text = as_text(block.subspan(at, bytes));
  return text.substr(0, std::min(text.find('\0'), text.size()));
}

// Octal with spaces around, or 64 bits in binary as GNU writes what is too large.
std::optional<std::uint64_t> number(ByteView block, std::size_t at, std::size_t bytes) {
  if (block[at] == 0x80) {
    for (std::size_t i = 1; i + 8 < bytes; ++i) {
      if (block[at + i] != 0) return std::nullopt;
    }
    return load_be64(block.data() + at + bytes - 8);
  }
  std::string_view text = field(block, at, bytes);
  while (text.starts_with(' ')) text.remove_prefix(1);
  while (text.ends_with(' ')) text.remove_suffix(1);
  std::uint64_t out = 0;
  for (const char c : text) {
    if (c < '0' || c > '7') return std::nullopt;
    out = out * 8 + static_cast<std::uint64_t>(c - '0');
  }
  return out;
}

class ArchiveReader {
 public:
  explicit ArchiveReader(const std::string& path) : path_(path), fd_(value_or_throw(open_file(path, O_RDONLY))) {}

  std::optional<ArchiveEntry> next() {
    skip(left_ + padding_);
    Bytes block(kBlockBytes);
    const std::size_t got = value_or_throw(read_full(fd_.get(), block, path_));
    if (got == 0) return std::nullopt;
    if (got != kBlockBytes) throw Error("image_malformed", path_ + " ends within a tar header");
    std::optional<ArchiveEntry> entry = value_or_throw(parse_archive_header(block));
    if (!entry) return std::nullopt;
    left_ = entry->bytes;
    padding_ = (kBlockBytes - left_ % kBlockBytes) % kBlockBytes;
    return entry;
  }
  /// The rest of the entry, piece by piece.
  template <typename Take>
  void read(Take take) {
    Bytes buffer(kPieceBytes);
    while (left_ > 0) {
      const MutableBytes piece(buffer.data(), std::min<std::uint64_t>(buffer.size(), left_));
      if (value_or_throw(read_full(fd_.get(), piece, path_)) != piece.size())
        throw Error("image_malformed", path_ + " is cut short");
      left_ -= piece.size();
      take(ByteView(piece));
    }
  }

 private:
  void skip(std::uint64_t bytes) {
    // Read, not sought: an archive may come from a pipe.
    Bytes buffer(kPieceBytes);
    while (bytes > 0) {
      const MutableBytes piece(buffer.data(), std::min<std::uint64_t>(buffer.size(), bytes));
      if (value_or_throw(read_full(fd_.get(), piece, path_)) != piece.size())
        throw Error("image_malformed", path_ + " is cut short");
      bytes -= piece.size();
    }
    left_ = 0;
  }

  std::string path_;
  Fd fd_;
  std::uint64_t left_ = 0, padding_ = 0;
};

void add_file(int fd, const std::string& path, const std::string& name, std::string_view text) {
  const LayerEntry entry{.path = name, .content = {}, .source = {}};
  std::string out = value_or_throw(tar_header(entry, text.size(), 0));
  out += text;
  out.resize((out.size() + kBlockBytes - 1) / kBlockBytes * kBlockBytes);
  value_or_throw(write_full(fd, as_bytes(out), path));
}

void add_blob(int fd, const std::string& path, const BlobFolder& folder, const Descriptor& blob) {
  const std::string source = folder.path_of(blob.digest);
  const LayerEntry entry{.path = std::string(kBlobs) + blob.digest.substr(7), .content = {}, .source = {}};
  value_or_throw(write_full(fd, as_bytes(value_or_throw(tar_header(entry, blob.bytes, 0))), path));
  const Fd in = value_or_throw(open_file(source, O_RDONLY));
  Bytes buffer(kPieceBytes);
  for (std::uint64_t left = blob.bytes; left > 0;) {
    const MutableBytes piece(buffer.data(), std::min<std::uint64_t>(buffer.size(), left));
    if (value_or_throw(read_full(in.get(), piece, source)) != piece.size())
      throw Error("source_changed", source + " became shorter");
    value_or_throw(write_full(fd, piece, path));
    left -= piece.size();
  }
  value_or_throw(write_full(fd, Bytes((kBlockBytes - blob.bytes % kBlockBytes) % kBlockBytes), path));
}

}  // namespace

Result<std::optional<ArchiveEntry>> parse_archive_header(ByteView block) {
  if (block.size() != kBlockBytes) return fail("image_malformed", "a tar header has 512 bytes");
  if (std::ranges::all_of(block, [](std::uint8_t byte) { return byte == 0; })) return std::optional<ArchiveEntry>();
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < kBlockBytes; ++i) sum += i >= 148 && i < 156 ? ' ' : block[i];
  const auto told = number(block, 148, 8);
  const auto bytes = number(block, 124, 12);
  if (!told || *told != sum) return fail("image_malformed", "a tar header's checksum is wrong");
  if (!bytes || *bytes > kMaxBlobBytes) return fail("image_malformed", "a tar entry's size is no number, or too large");
  ArchiveEntry out;
  out.bytes = *bytes;
  const std::string_view prefix = field(block, 257, 5) == "ustar" ? field(block, 345, 155) : std::string_view();
  out.name = prefix.empty() ? std::string(field(block, 0, 100))
                            : std::string(prefix) + "/" + std::string(field(block, 0, 100));
  if (out.name.starts_with("./")) out.name.erase(0, 2);
  const char kind = static_cast<char>(block[156]);
  out.is_file = kind == '0' || kind == '\0';
  // Only entries with content have a size that counts; links of old writers name their target's.
  if (kind == '1' || kind == '2' || kind == '5') out.bytes = 0;
  return std::optional(std::move(out));
}

std::string read_archive(const std::string& path, const BlobFolder& folder) {
  ArchiveReader reader(path);
  std::string index;
  for (std::size_t count = 0;; ++count) {
    if (count == kMaxArchiveEntries) throw Error("image_malformed", path + " has too many entries");
    const std::optional<ArchiveEntry> entry = reader.next();
    if (!entry) break;
    if (!entry->is_file) continue;
    if (entry->name == "index.json") {
      if (entry->bytes > kMaxDocumentBytes || !index.empty())
        throw Error("image_malformed", path + " has an index that is refused");
      reader.read([&](ByteView piece) { index.append(as_text(piece)); });
    } else if (entry->name.starts_with(kBlobs)) {
      const std::string digest = "sha256:" + entry->name.substr(kBlobs.size());
      if (!is_digest(digest)) throw Error("image_malformed", path + " has a blob that is not called by its digest");
      IncomingBlob blob(folder);
      reader.read([&](ByteView piece) { blob.write(piece); });
      blob.keep_as({.media_type = {}, .digest = digest, .bytes = entry->bytes});
    }
  }
  if (index.empty()) throw Error("image_malformed", path + " is no OCI archive: it has no index.json");
  return index;
}

void write_archive(const std::string& path, const BlobFolder& folder, const std::vector<Descriptor>& blobs,
                   const std::string& index, bool replace) {
  AtomicFile file = value_or_throw(AtomicFile::create(path, 0644, replace));
  std::set<std::string> written;
  std::vector<Descriptor> sorted = blobs;
  std::ranges::sort(sorted, {}, &Descriptor::digest);
  for (const Descriptor& blob : sorted) {
    if (written.insert(blob.digest).second) add_blob(file.fd(), path, folder, blob);
  }
  add_file(file.fd(), path, "index.json", index);
  add_file(file.fd(), path, "oci-layout", kLayoutText);
  value_or_throw(write_full(file.fd(), Bytes(2 * kBlockBytes), path));
  value_or_throw(file.commit());
}

}  // namespace tb::oci
