#include "tlog/segments.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <charconv>
#include <filesystem>

namespace tb::tlog {
namespace {

constexpr std::string_view kCutHeader = "trustbridge-cut v1\n";
constexpr std::string_view kLogSuffix = ".jsonl";
constexpr std::size_t kNumberDigits = 16;

[[noreturn]] void malformed(std::string_view why) {
  throw Error("checkpoint_malformed", fmt::format("a cut of a log {}", why));
}

std::string stem_of(const std::string& log_path) {
  return log_path.ends_with(kLogSuffix) ? log_path.substr(0, log_path.size() - kLogSuffix.size()) : log_path;
}

std::string_view take_line(std::string_view& text) {
  const std::size_t end = text.find('\n');
  if (end == std::string_view::npos) malformed("is cut short itself");
  const std::string_view line = text.substr(0, end);
  text.remove_prefix(end + 1);
  return line;
}

/// The number in `<stem>-<16 digits><suffix>`.
std::optional<std::uint64_t> number_in(std::string_view name, std::string_view stem, std::string_view suffix) {
  if (!name.starts_with(stem) || !name.ends_with(suffix)) return std::nullopt;
  name.remove_prefix(stem.size());
  if (name.size() != 1 + kNumberDigits + suffix.size() || name[0] != '-') return std::nullopt;
  name = name.substr(1, kNumberDigits);
  std::uint64_t number = 0;
  const auto [at, fault] = std::from_chars(name.data(), name.data() + name.size(), number);
  if (fault != std::errc() || at != name.data() + name.size()) return std::nullopt;
  return number;
}

}  // namespace

std::string Cut::to_text() const {
  std::string out(kCutHeader);
  out += "prev " + to_base64(prev) + "\n";
  for (const Digest& hash : tree.hashes()) out += to_base64(hash) + "\n";
  return out + "\n" + checkpoint.to_text();
}

Cut Cut::parse(std::string_view text) {
  if (text.size() > kMaxCutBytes) malformed("is too large");
  if (!text.starts_with(kCutHeader)) malformed("does not begin as one");
  text.remove_prefix(kCutHeader.size());
  Cut out;
  std::string_view line = take_line(text);
  if (!line.starts_with("prev ")) malformed("does not say which record it follows");
  out.prev = parse_hash(line.substr(5), "prev");
  std::vector<Digest> hashes;
  for (line = take_line(text); !line.empty(); line = take_line(text)) {
    if (hashes.size() == 64) malformed("has more hashes than any tree");
    hashes.push_back(parse_hash(line, "frontier"));
  }
  out.checkpoint = Note::parse(text);
  const Checkpoint checkpoint = Checkpoint::parse(out.checkpoint.text);
  if (checkpoint.size == 0) malformed("is before the first record");
  try {
    out.tree = Frontier(checkpoint.size, std::move(hashes));
  } catch (const Error& error) {
    throw Error("checkpoint_malformed", error.message);
  }
  if (out.tree.root() != checkpoint.root) malformed("is not of the tree that its checkpoint signs");
  return out;
}

std::string segment_path(const std::string& log_path, std::uint64_t first) {
  return fmt::format("{}-{:016}{}", stem_of(log_path), first, kLogSuffix);
}

std::string cut_path(const std::string& log_path, std::uint64_t first) {
  return fmt::format("{}-{:016}.cut", stem_of(log_path), first);
}

Segments list_segments(const std::string& log_path) {
  const std::filesystem::path path(log_path);
  const std::string name = path.filename().string();
  const std::string stem = stem_of(name);
  Segments out;
  std::error_code fault;
  const auto folder = path.has_parent_path() ? path.parent_path() : std::filesystem::path(".");
  for (const auto& entry : std::filesystem::directory_iterator(folder, fault)) {
    const std::string each = entry.path().filename().string();
    if (each == name) out.has_open = true;
    if (const auto first = number_in(each, stem, kLogSuffix)) out.closed.push_back(*first);
    if (const auto first = number_in(each, stem, ".cut")) out.cuts.push_back(*first);
  }
  if (fault && fault != std::errc::no_such_file_or_directory) throw error_from_errno(fault.value(), folder.string());
  std::ranges::sort(out.closed);
  std::ranges::sort(out.cuts);
  return out;
}

Cut read_cut(const std::string& log_path, std::uint64_t first) {
  const std::string path = cut_path(log_path, first);
  Cut cut = Cut::parse(value_or_throw(read_small_file(path, kMaxCutBytes)));
  if (cut.tree.size() != first) malformed(fmt::format("is before record {} and is called {}", cut.tree.size(), path));
  return cut;
}

LineReader::LineReader(const std::string& path) : path_(path), fd_(value_or_throw(open_file(path, O_RDONLY))) {}

bool LineReader::next(std::string& line) {
  constexpr std::size_t kPieceBytes = std::size_t{256} << 10;
  for (;;) {
    if (const std::size_t end = buffer_.find('\n', at_); end != std::string::npos) {
      line.assign(buffer_, at_, end - at_);
      offset_ += line.size() + 1;
      at_ = end + 1;
      ++number_;
      return true;
    }
    buffer_.erase(0, at_);
    at_ = 0;
    if (buffer_.size() > kMaxRecordBytes) {
      throw Error("chain_broken", fmt::format("{} line {} is longer than a record may be", path_, number_ + 1));
    }
    const std::size_t had = buffer_.size();
    buffer_.resize(had + kPieceBytes);
    const MutableBytes room(reinterpret_cast<std::uint8_t*>(buffer_.data()) + had, kPieceBytes);
    auto bytes = read_full(fd_.get(), room, path_);
    buffer_.resize(had + bytes.value_or(0));
    if (value_or_throw(std::move(bytes)) == 0) return false;
  }
}

bool LineReader::is_replaced() const {
  struct stat open_file_is{};
  struct stat named{};
  if (fstat(fd_.get(), &open_file_is) != 0) return true;
  if (stat(path_.c_str(), &named) != 0) return true;
  return open_file_is.st_ino != named.st_ino || open_file_is.st_dev != named.st_dev;
}

}  // namespace tb::tlog
