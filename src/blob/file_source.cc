#include "blob/file_source.h"

#include <fmt/format.h>

#include <algorithm>

namespace tb::blob {
namespace {
constexpr std::size_t kPieceBytes = std::size_t{256} << 10;
}

FileSource::FileSource(const std::string& path) : file_(value_or_throw(tbenc::FileSource::open(path))) {}

BlobStat FileSource::stat() {
  return {file_.size(), ""};
}

void FileSource::fetch(std::uint64_t offset, std::uint64_t bytes, const ByteSink& sink, std::stop_token stop) {
  if (offset > file_.size() || bytes > file_.size() - offset) {
    throw FetchError(Error("range_outside_blob", fmt::format("{}: bytes {} to {} asked of {}", printable(), offset,
                                                             offset + bytes - 1, file_.size())));
  }
  Bytes piece(static_cast<std::size_t>(std::min<std::uint64_t>(bytes, kPieceBytes)));
  while (bytes > 0) {
    if (stop.stop_requested()) throw FetchError(Error("cancelled", "the download was stopped"));
    const auto wanted = static_cast<std::size_t>(std::min<std::uint64_t>(bytes, piece.size()));
    const MutableBytes into = MutableBytes(piece).first(wanted);
    if (auto read = file_.read_at(offset, into); !read) throw FetchError(changed(std::move(read.error())));
    sink(into);
    offset += wanted;
    bytes -= wanted;
  }
  if (auto same = file_.check_unchanged(); !same) throw FetchError(changed(std::move(same.error())));
}

Error FileSource::changed(Error why) const {
  if (why.reason != "source_changed") return why;
  return Error("blob_changed", printable() + " changed while it was read", std::move(why));
}

std::string FileSource::printable() const {
  return "file:" + file_.name();
}

}  // namespace tb::blob
