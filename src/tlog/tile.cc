#include "tlog/tile.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace tb::tlog {
namespace {

/// A decimal number as C2SP writes them: no sign, no leading zeroes.
std::optional<std::uint64_t> decimal(std::string_view text, std::uint64_t max) {
  std::uint64_t value = 0;
  const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (fault != std::errc() || end != text.data() + text.size() || value > max) return std::nullopt;
  if (text.size() > 1 && text.front() == '0') return std::nullopt;
  return value;
}

}  // namespace

std::string tile_path(const TileId& tile) {
  std::string number = fmt::format("{:03}", tile.index % 1000);
  for (std::uint64_t rest = tile.index / 1000; rest > 0; rest /= 1000) {
    number = fmt::format("x{:03}/{}", rest % 1000, number);
  }
  std::string path = (tile.level ? std::to_string(*tile.level) : "entries") + "/" + number;
  if (tile.width != kTileWidth) path += fmt::format(".p/{}", tile.width);
  return path;
}

std::optional<TileId> parse_tile_path(std::string_view path) {
  constexpr std::size_t kMaxPathBytes = 64;
  const std::size_t slash = path.find('/');
  if (path.size() > kMaxPathBytes || slash == std::string_view::npos) return std::nullopt;
  TileId tile;
  if (path.substr(0, slash) != "entries") {
    const auto level = decimal(path.substr(0, slash), kMaxTileLevel);
    if (!level) return std::nullopt;
    tile.level = static_cast<unsigned>(*level);
  }
  std::string_view number = path.substr(slash + 1);
  if (const std::size_t partial = number.find(".p/"); partial != std::string_view::npos) {
    const auto width = decimal(number.substr(partial + 3), kTileWidth - 1);
    if (!width || *width == 0) return std::nullopt;
    tile.width = *width;
    number = number.substr(0, partial);
  }
  for (const char c : number) {
    if (c >= '0' && c <= '9') tile.index = tile.index * 10 + static_cast<std::uint64_t>(c - '0');
    if (tile.index >> 55 != 0) return std::nullopt;
  }
  // One path a tile: what would be written otherwise is no path.
  if (tile_path(tile) != path) return std::nullopt;
  return tile;
}

std::uint64_t tile_width(unsigned level, std::uint64_t index, std::uint64_t size) {
  if (level > kMaxTileLevel) return 0;
  const std::uint64_t hashes = size >> (level * kTileHeight);
  if (index > hashes / kTileWidth) return 0;
  return std::min(hashes - index * kTileWidth, kTileWidth);
}

const std::vector<Digest>& TiledNodes::tile(unsigned level, std::uint64_t index) {
  const auto [at, is_new] = tiles_.try_emplace({level, index});
  if (is_new) {
    const std::uint64_t width = tile_width(level, index, size_);
    at->second = read_(level, index * kTileWidth, width);
    if (at->second.size() != width) {
      tiles_.erase(at);
      throw Error("chain_broken", fmt::format("tile {} of the log lacks hashes", tile_path({level, index, width})));
    }
  }
  return at->second;
}

Digest TiledNodes::operator()(unsigned height, std::uint64_t index) {
  const unsigned level = height / kTileHeight;
  const unsigned above = height % kTileHeight;
  const std::uint64_t first = index << above;
  const std::vector<Digest>& row = tile(level, first / kTileWidth);
  const std::uint64_t begin = first % kTileWidth;
  const std::uint64_t count = std::uint64_t{1} << above;
  if (begin + count > row.size()) throw Error("internal", "a node was asked for that the tree does not have");
  std::vector<Digest> hashes(row.begin() + static_cast<std::ptrdiff_t>(begin),
                             row.begin() + static_cast<std::ptrdiff_t>(begin + count));
  for (; hashes.size() > 1; hashes.resize(hashes.size() / 2)) {
    for (std::size_t i = 0; i < hashes.size() / 2; ++i) hashes[i] = node_hash(hashes[2 * i], hashes[2 * i + 1]);
  }
  return hashes.front();
}

}  // namespace tb::tlog
