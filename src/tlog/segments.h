// A log in several files: `log.jsonl` is being written, `log-<first record, 16 digits>.jsonl` are its parts before, and
// together they are one chain and one tree. Beside each part that does not begin with record 0, and beside the one that
// is being written, stands `log-<first>.cut`: what the records before came to. So the oldest parts can be deleted, and
// what is left is still proven against checkpoints; and who goes on writing reads the last part only.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/fs.h"
#include "tlog/chain.h"
#include "tlog/checkpoint.h"
#include "tlog/tree.h"

namespace tb::tlog {

inline constexpr std::size_t kMaxRecordBytes = std::size_t{1} << 20;
inline constexpr std::size_t kMaxCutBytes = std::size_t{128} << 10;

/// The records before one record: their number and tree, and the last one's leaf hash, which is the next one's `prev`.
struct Cut {
  Frontier tree;
  Digest prev{};
  Note checkpoint;  ///< of exactly this tree, signed by the log

  ChainHead head() const { return {.records = tree.size(), .prev = prev}; }
  std::string to_text() const;
  /// Strict: what is accepted is written the same again; the checkpoint's size and root are those of the tree. Its
  /// signature is not looked at. Throws "checkpoint_malformed", "note_malformed".
  static Cut parse(std::string_view text);
};

/// `<path without .jsonl>-<first>.jsonl` and `.cut`.
std::string segment_path(const std::string& log_path, std::uint64_t first);
std::string cut_path(const std::string& log_path, std::uint64_t first);

struct Segments {
  std::vector<std::uint64_t> closed;  ///< first records of the parts that are complete, ascending
  std::vector<std::uint64_t> cuts;    ///< ascending
  bool has_open = false;              ///< `log_path` itself is there
};
/// What lies beside `log_path`. Throws what the file system says; a directory that is not there is empty.
Segments list_segments(const std::string& log_path);

/// The cut before record `first`; nothing stands in a file for record 0. Throws as parse and reading do.
Cut read_cut(const std::string& log_path, std::uint64_t first);

/// The lines of a file, one at a time, in bounded memory.
class LineReader {
 public:
  explicit LineReader(const std::string& path);

  /// False at the end, where more may be appended later. Throws "chain_broken" for a line longer than a record may be.
  bool next(std::string& line);
  /// Something stands at the end without a newline.
  bool has_partial() const { return at_ < buffer_.size(); }
  /// Of the line that next() gave last, from 1.
  std::uint64_t number() const { return number_; }
  /// Bytes up to the end of that line.
  std::uint64_t offset() const { return offset_; }
  const std::string& path() const { return path_; }
  /// The file has another name by now, or none.
  bool is_replaced() const;

 private:
  std::string path_;
  Fd fd_;
  std::string buffer_;
  std::size_t at_ = 0;
  std::uint64_t number_ = 0, offset_ = 0;
};

}  // namespace tb::tlog
