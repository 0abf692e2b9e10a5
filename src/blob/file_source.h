// A blob that is a local file (`file:` in local configuration, never from the network).
#pragma once

#include <memory>
#include <string>

#include "blob/source.h"
#include "tbenc/source.h"

namespace tb::blob {

class FileSource : public BlobSource {
 public:
  /// Opens `path`, a regular file. Throws Error ("not_found", "access_denied", "not_a_regular_file").
  explicit FileSource(std::string path);
  BlobStat stat() override;
  /// A file that is changed while it is read is "blob_changed".
  void fetch(std::uint64_t offset, std::uint64_t bytes, const ByteSink& sink, std::stop_token stop) override;
  std::string printable() const override;

 private:
  tbenc::FileSource file_;
};

}  // namespace tb::blob
