// A folder for what a command needs only while it runs: gigabytes of an image's layers, where that has a base of such
// size.
//
// It goes with the object. A command that is killed leaves its folder behind, and the next one removes it: whoever
// works in a folder holds a lock on it, which the kernel takes away with the process.
#pragma once

#include <string>

#include "base/fs.h"

namespace tb::cli {

class WorkFolder {
 public:
  /// Makes `<parent>/trustbridge-work-XXXXXX` (0700), and removes those of this user's that nobody holds. Throws the
  /// errors of the file system.
  explicit WorkFolder(const std::string& parent);
  ~WorkFolder();
  WorkFolder(const WorkFolder&) = delete;
  WorkFolder& operator=(const WorkFolder&) = delete;

  const std::string& path() const { return path_; }

 private:
  std::string path_;
  Fd lock_;
};

}  // namespace tb::cli
