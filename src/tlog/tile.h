// The tree cut into tiles (C2SP tlog-tiles): rows of up to 256 hashes, each a complete subtree of 256^level leaves. A
// log that keeps its tiles' rows can prove anything by reading at most two tiles of each level.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tlog/tree.h"

namespace tb::tlog {

inline constexpr unsigned kTileHeight = 8;
inline constexpr std::uint64_t kTileWidth = std::uint64_t{1} << kTileHeight;
inline constexpr unsigned kMaxTileLevel = 7;  ///< of a tree of fewer than 2^63 leaves

/// A tile of hashes at `level`, or with no level a bundle of entries.
struct TileId {
  std::optional<unsigned> level;
  std::uint64_t index = 0;
  std::uint64_t width = kTileWidth;  ///< hashes in it; fewer than kTileWidth: a partial tile
  bool operator==(const TileId&) const = default;
};

/// "0/x001/x234/067", "entries/000.p/12".
std::string tile_path(const TileId& tile);
/// The inverse; nothing for whatever tile_path would not have written.
std::optional<TileId> parse_tile_path(std::string_view path);

/// How many hashes tile `index` of `level` has in a tree of `size` leaves: 0 if it is not there.
std::uint64_t tile_width(unsigned level, std::uint64_t index, std::uint64_t size);

/// Gives `count` hashes of a level's row, from the `first` on: roots of complete subtrees of 256^level leaves.
using RowReader = std::function<std::vector<Digest>(unsigned level, std::uint64_t first, std::uint64_t count)>;

/// Makes any node of a tree of `size` leaves from its rows, each tile read once. Throws what `read` throws, and
/// "chain_broken" if it gives fewer hashes than the size promises.
class TiledNodes {
 public:
  TiledNodes(std::uint64_t size, RowReader read) : size_(size), read_(std::move(read)) {}
  Digest operator()(unsigned height, std::uint64_t index);
  /// For the functions of tree.h; this object must outlive it.
  NodeReader reader() {
    return [this](unsigned height, std::uint64_t index) { return (*this)(height, index); };
  }

 private:
  const std::vector<Digest>& tile(unsigned level, std::uint64_t index);

  std::uint64_t size_;
  RowReader read_;
  std::map<std::pair<unsigned, std::uint64_t>, std::vector<Digest>> tiles_;
};

}  // namespace tb::tlog
