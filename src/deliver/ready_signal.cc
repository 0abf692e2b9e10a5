#include "deliver/ready_signal.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/json.h"
#include "deliver/wipe.h"

namespace tb::deliver {

std::string ready_signal_text(const ReadyFacts& facts, UnixMs now) {
  Json signal = Json::object();
  signal.set("ready", true);
  signal.set("timestamp", to_rfc3339(now));
  signal.set("sentinel_version", facts.sentinel_version);
  signal.set("delivery", facts.delivery);
  signal.set("path", facts.path);
  signal.set("generation", facts.generation);
  signal.set("plaintext_bytes", facts.plaintext_bytes);
  return signal.dump() + "\n";
}

ReadySignal::ReadySignal(std::string path) : path_(std::move(path)) {
  const auto slash = path_.rfind('/');
  if (slash == std::string::npos || slash == 0) throw Error("path_unsafe", path_ + " has no directory of its own");
  directory_ = value_or_throw(open_owned_dir(path_.substr(0, slash), 0711));
  name_ = path_.substr(slash + 1);
  struct stat st{};
  if (fstatat(directory_.get(), name_.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0) {
    if (!S_ISREG(st.st_mode) || st.st_uid != geteuid()) {
      throw Error("path_unsafe", path_ + " is there and not a ready signal of ours");
    }
    withdraw();
  }
}

ReadySignal::~ReadySignal() {
  withdraw();
}

void ReadySignal::publish(const ReadyFacts& facts, UnixMs now) {
  value_or_throw(write_file_atomically(path_, ready_signal_text(facts, now), 0644, true));
}

void ReadySignal::withdraw() noexcept {
  (void)unlinkat(directory_.get(), name_.c_str(), 0);
}

}  // namespace tb::deliver
