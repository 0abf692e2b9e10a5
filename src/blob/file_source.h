// A blob that is a local file (`file:` in local configuration, never from the network).
#pragma once

#include <string>

#include "blob/source.h"
#include "tbenc/source.h"

namespace tb::blob {

class FileSource final : public BlobSource {
 public:
  /// Opens `path`. Throws Error: "not_a_regular_file", or what open(2) says.
  explicit FileSource(const std::string& path);
  BlobStat stat() override;
  void fetch(std::uint64_t offset, std::uint64_t bytes, const ByteSink& sink, std::stop_token stop = {}) override;
  bool is_local() const override { return true; }
  std::string printable() const override;

 private:
  Error changed(Error why) const;
  tbenc::FileSource file_;
};

}  // namespace tb::blob
