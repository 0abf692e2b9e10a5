#include "asset/tar_map.h"

#include <fmt/format.h>

#include <algorithm>

#include "asset/tar_header.h"

namespace tb::asset {
namespace {

std::unexpected<Error> malformed(std::string message) {
  return fail("archive_malformed", std::move(message));
}

bool all_zero(ByteView bytes) {
  return std::ranges::all_of(bytes, [](std::uint8_t b) { return b == 0; });
}

}  // namespace

Result<TarMap> TarMap::make(const Content& content, std::uint64_t plaintext_bytes) {
  TarMap map(content, plaintext_bytes);
  for (std::size_t gap = 0; gap < map.gap_count(); ++gap) {
    if (map.gap_bytes(gap) < kTarBlockBytes || map.gap_bytes(gap) > kMaxGapBytes) {
      return malformed(fmt::format("the index leaves {} bytes for headers before entry {}", map.gap_bytes(gap), gap));
    }
  }
  if (plaintext_bytes % kTarBlockBytes != 0) return malformed("the archive does not end with a whole block");
  return map;
}

std::uint64_t TarMap::gap_offset(std::size_t gap) const {
  if (gap == 0) return 0;
  const ContentFile& before = content_->files[gap - 1];
  return before.offset + before.bytes;
}

std::uint64_t TarMap::gap_bytes(std::size_t gap) const {
  const std::uint64_t end = gap == content_->files.size() ? total_ : content_->files[gap].offset;
  return end - gap_offset(gap);
}

std::uint64_t TarMap::all_gap_bytes() const {
  std::uint64_t sum = 0;
  for (std::size_t gap = 0; gap < gap_count(); ++gap) sum += gap_bytes(gap);
  return sum;
}

std::vector<TarMap::Piece> TarMap::pieces(std::uint64_t offset, std::size_t bytes) const {
  std::vector<Piece> found;
  if (offset > total_ || bytes > total_ - offset) return found;
  const auto& files = content_->files;
  // The first file that ends after `offset`, or starts at or after it: everything before is behind us.
  std::size_t file = static_cast<std::size_t>(
      std::ranges::partition_point(files, [&](const ContentFile& f) { return f.offset + f.bytes <= offset; }) -
      files.begin());
  std::size_t at = 0;
  while (at < bytes) {
    const std::uint64_t here = offset + at;
    Piece piece{.index = file, .at = at};
    std::uint64_t end = total_;
    if (file == files.size() || here < files[file].offset) {
      piece.offset = here - gap_offset(file);
      if (file < files.size()) end = files[file].offset;
    } else {
      piece.is_file = true;
      piece.offset = here - files[file].offset;
      end = files[file].offset + files[file].bytes;
      ++file;
    }
    piece.bytes = static_cast<std::size_t>(std::min<std::uint64_t>(end - here, bytes - at));
    at += piece.bytes;
    if (piece.bytes > 0) found.push_back(piece);
  }
  return found;
}

bool TarMap::is_indexed_directory(std::string_view path) const {
  const std::string prefix = std::string(path) + "/";
  const auto found = std::ranges::lower_bound(content_->files, prefix, {}, &ContentFile::path);
  return found != content_->files.end() && found->path.starts_with(prefix);
}

Result<> TarMap::check_gap(std::size_t gap, ByteView bytes, std::set<std::string>& directories) const {
  if (bytes.size() != gap_bytes(gap)) return malformed("a gap was given in part");
  if (gap > 0) {
    const std::uint64_t padding = tar_padding(content_->files[gap - 1].bytes);
    if (bytes.size() < padding || !all_zero(bytes.first(padding))) {
      return malformed(fmt::format("'{}' is not followed by zero padding", content_->files[gap - 1].path));
    }
    bytes = bytes.subspan(padding);
  }
  if (gap == content_->files.size()) {
    if (bytes.size() < kTarEndBytes || !all_zero(bytes)) return malformed("the archive does not end with zero blocks");
    return {};
  }
  const ContentFile& file = content_->files[gap];
  while (true) {
    const ParsedTarHeader header = TRY(parse_tar_header(bytes));
    bytes = bytes.subspan(header.header_bytes);
    if (!header.entry.is_directory) {
      const TarEntry indexed{false, file.path, file.bytes, file.mode};
      if (header.entry != indexed)
        return malformed(fmt::format("the header before '{}' disagrees with the index", file.path));
      if (!bytes.empty())
        return malformed(fmt::format("the bytes of '{}' do not start where the index says", file.path));
      return {};
    }
    if (header.entry.mode != kExecutableMode || !is_indexed_directory(header.entry.path) ||
        !directories.insert(header.entry.path).second) {
      return malformed(fmt::format("a directory entry before '{}' disagrees with the index", file.path));
    }
  }
}

}  // namespace tb::asset
