// Takes paths out of text on its way: where an answer names a directory that must not be told, the name the model is
// served by stands instead. Streaming; what is held back is at most one partly read path.
//
// A path is found as it stands, and as JSON may escape it (`\/`, `\u002f`, any character as \uXXXX), across the borders
// of pieces. It is found only where a path can begin (not inside of a longer one: `/v1/models` does not hold
// `/models`), and a path of one segment only at the beginning of a JSON string, because people write about `/models`
// without meaning ours. The rest of a found path goes with it, up to what cannot stand in a file's name. All other
// bytes pass untouched.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "sentinel/proxy/filter.h"

namespace tb::sentinel::proxy {

/// What is replaced, and by what. Made once.
class HiddenPaths {
 public:
  /// Absolute paths of printable ASCII, at most kMaxPaths of kMaxPathBytes; others, and `/` alone, are left out.
  /// `served_name` needs no escape in JSON.
  HiddenPaths(std::vector<std::string> paths, std::string served_name);

  static constexpr std::size_t kMaxPaths = 16;
  static constexpr std::size_t kMaxPathBytes = 1024;

  bool empty() const { return paths_.empty(); }
  const std::vector<std::string>& paths() const { return paths_; }  ///< the longest first
  const std::string& served_name() const { return served_name_; }

 private:
  std::vector<std::string> paths_;
  std::string served_name_;
};

class PathRewrite final : public BodyTransform {
 public:
  /// `hidden` outlives it.
  explicit PathRewrite(const HiddenPaths& hidden) : hidden_(hidden) {}
  std::optional<Refusal> feed(ByteView in, bool last, std::string& out) override;
  bool has_rewritten() const { return rewritten_ > 0; }

 private:
  void scan(std::string_view text, bool last, std::string& out);
  bool may_begin(std::string_view path) const;

  const HiddenPaths& hidden_;
  std::string held_;             ///< the end of what came, from where a path may have begun
  bool in_tail_ = false;         ///< behind a path that was replaced: what belongs to it goes, too
  unsigned char before_ = '\n';  ///< the character before the next one, as JSON reads it
  std::size_t rewritten_ = 0;
};

}  // namespace tb::sentinel::proxy
