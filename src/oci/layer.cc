#include "oci/layer.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <set>

namespace tb::oci {
namespace {

constexpr std::size_t kBlockBytes = 512;
constexpr std::size_t kPieceBytes = std::size_t{256} << 10;
constexpr std::size_t kNameBytes = 100, kPrefixBytes = 155;
constexpr int kCompressionLevel = 6;
constexpr int kGzipWindow = 15 + 16;
constexpr unsigned char kUnknownSystem = 255;
constexpr std::uint64_t kMaxTarBytes = (std::uint64_t{1} << 33) - 1;  // 11 octal digits

// Each deflate of the same zlib gives the same bytes; the gzip header gets neither time nor name nor system.
class Gzip {
 public:
  explicit Gzip(IncomingBlob& out) : out_(out), buffer_(kPieceBytes) {
    if (deflateInit2(&stream_, kCompressionLevel, Z_DEFLATED, kGzipWindow, 8, Z_DEFAULT_STRATEGY) != Z_OK) {
      throw Error("out_of_memory", "no memory to compress");
    }
    header_.os = kUnknownSystem;
    deflateSetHeader(&stream_, &header_);
  }
  ~Gzip() { deflateEnd(&stream_); }
  Gzip(const Gzip&) = delete;
  Gzip& operator=(const Gzip&) = delete;

  void write(ByteView bytes) {
    stream_.next_in = const_cast<Bytef*>(bytes.data());  // zlib's own signature; it does not write there
    stream_.avail_in = static_cast<uInt>(bytes.size());
    while (stream_.avail_in > 0) pump(Z_NO_FLUSH);
  }
  void finish() {
    while (pump(Z_FINISH) != Z_STREAM_END) {
    }
  }

 private:
  int pump(int flush) {
    stream_.next_out = buffer_.data();
    stream_.avail_out = static_cast<uInt>(buffer_.size());
    const int status = deflate(&stream_, flush);
    if (status == Z_STREAM_ERROR) throw Error("internal", "zlib refuses to compress");
    out_.write(ByteView(buffer_).first(buffer_.size() - stream_.avail_out));
    return status;
  }

  IncomingBlob& out_;
  Bytes buffer_;
  z_stream stream_{};
  gz_header header_{};
};

class TarStream {
 public:
  explicit TarStream(IncomingBlob& out) : gzip_(out) {}
  void write(ByteView bytes) {
    hash_.update(bytes);
    gzip_.write(bytes);
    written_ += bytes.size();
  }
  void pad() {
    static constexpr std::array<std::uint8_t, kBlockBytes> kZeros{};
    if (const std::size_t over = written_ % kBlockBytes; over != 0) write(ByteView(kZeros).first(kBlockBytes - over));
  }
  std::string finish() {
    write(Bytes(2 * kBlockBytes));
    gzip_.finish();
    return "sha256:" + to_hex(hash_.finish());
  }

 private:
  Gzip gzip_;
  Sha256 hash_;
  std::uint64_t written_ = 0;
};

bool is_plain_path(std::string_view path) {
  if (path.empty() || path.size() > kNameBytes + kPrefixBytes) return false;
  for (std::size_t at = 0; at <= path.size();) {
    const std::size_t end = std::min(path.find('/', at), path.size());
    const std::string_view part = path.substr(at, end - at);
    if (part.empty() || part == "." || part == "..") return false;
    at = end + 1;
  }
  return std::ranges::all_of(path, [](char c) { return c > 0x20 && c < 0x7f && c != '\\'; });
}

void put(std::string& block, std::size_t at, std::string_view text) {
  block.replace(at, text.size(), text);
}

void copy_file(TarStream& out, const Fd& fd, std::uint64_t bytes, const std::string& path) {
  Bytes buffer(kPieceBytes);
  for (std::uint64_t left = bytes; left > 0;) {
    const MutableBytes piece(buffer.data(), std::min<std::uint64_t>(buffer.size(), left));
    if (value_or_throw(read_full(fd.get(), piece, path)) != piece.size()) {
      throw Error("source_changed", path + " became shorter while it was read");
    }
    out.write(piece);
    left -= piece.size();
  }
}

void add_parents(std::vector<LayerEntry>& entries) {
  std::set<std::string, std::less<>> named;
  for (const LayerEntry& entry : entries) {
    if (!named.insert(entry.path).second) throw Error("path_unsupported", entry.path + " stands in the layer twice");
  }
  const std::size_t count = entries.size();
  for (std::size_t i = 0; i < count; ++i) {
    const std::string path = entries[i].path;
    for (std::size_t at = path.find('/'); at != std::string::npos; at = path.find('/', at + 1)) {
      std::string parent = path.substr(0, at);
      if (!named.insert(parent).second) continue;
      entries.push_back(
          {.path = std::move(parent), .kind = LayerEntry::Kind::kDirectory, .content = {}, .source = {}, .mode = 0755});
    }
  }
}

}  // namespace

Result<std::string> tar_header(const LayerEntry& entry, std::uint64_t bytes, std::int64_t time_s) {
  if (!is_plain_path(entry.path)) return fail("path_unsupported", "a path of the layer is refused: " + entry.path);
  std::string name = entry.path + (entry.kind == LayerEntry::Kind::kDirectory ? "/" : "");
  std::string prefix;
  if (name.size() > kNameBytes) {
    const std::size_t cut = name.find('/', name.size() - kNameBytes - 1);
    if (cut == std::string::npos || cut + 1 == name.size() || cut > kPrefixBytes) {
      return fail("path_unsupported", "a path of the layer is too long for a tar header: " + entry.path);
    }
    prefix = name.substr(0, cut);
    name.erase(0, cut + 1);
  }
  const bool is_link = entry.kind == LayerEntry::Kind::kLink;
  if (is_link && (entry.content.empty() || entry.content.size() > kNameBytes)) {
    return fail("path_unsupported", "a link's target is empty or too long: " + entry.path);
  }
  if (bytes > kMaxTarBytes || time_s < 0 || static_cast<std::uint64_t>(time_s) > kMaxTarBytes ||
      entry.owner > 07777777) {
    return fail("path_unsupported", "size, time or owner do not fit a tar header: " + entry.path);
  }
  std::string block(kBlockBytes, '\0');
  put(block, 0, name);
  put(block, 100, fmt::format("{:07o}", entry.mode & 07777));
  put(block, 108, fmt::format("{:07o}", entry.owner));
  put(block, 116, fmt::format("{:07o}", entry.owner));
  put(block, 124, fmt::format("{:011o}", entry.kind == LayerEntry::Kind::kFile ? bytes : 0));
  put(block, 136, fmt::format("{:011o}", time_s));
  put(block, 148, "        ");
  block[156] = entry.kind == LayerEntry::Kind::kFile ? '0' : (is_link ? '2' : '5');
  if (is_link) put(block, 157, entry.content);
  put(block, 257,
      std::string_view("ustar\0"
                       "00",
                       8));
  put(block, 345, prefix);
  unsigned sum = 0;
  for (const char c : block) sum += static_cast<unsigned char>(c);
  put(block, 148, fmt::format("{:06o}", sum));
  block[154] = '\0';
  block[155] = ' ';
  return block;
}

Layer write_layer(const BlobFolder& folder, std::vector<LayerEntry> entries, std::int64_t time_s) {
  add_parents(entries);
  std::ranges::sort(entries, {}, &LayerEntry::path);
  IncomingBlob blob(folder);
  TarStream tar(blob);
  for (const LayerEntry& entry : entries) {
    if (entry.kind != LayerEntry::Kind::kFile) {
      tar.write(as_bytes(value_or_throw(tar_header(entry, 0, time_s))));
      continue;
    }
    if (entry.source.empty()) {
      tar.write(as_bytes(value_or_throw(tar_header(entry, entry.content.size(), time_s))));
      tar.write(as_bytes(entry.content));
    } else {
      const Fd fd = value_or_throw(open_file(entry.source, O_RDONLY));
      const std::uint64_t bytes = value_or_throw(file_size(fd.get(), entry.source));
      tar.write(as_bytes(value_or_throw(tar_header(entry, bytes, time_s))));
      copy_file(tar, fd, bytes, entry.source);
    }
    tar.pad();
  }
  std::string diff_id = tar.finish();
  return {.blob = blob.keep(kLayerType), .diff_id = std::move(diff_id)};
}

}  // namespace tb::oci
