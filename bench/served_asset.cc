#include "bench/served_asset.h"

#include <fcntl.h>

#include "base/crypto.h"
#include "tbenc/parallel.h"

namespace tb::bench {
namespace {

constexpr std::size_t kWorkers = 2;  ///< of blob::Nginx

class Zeros final : public tbenc::PullSource {
 public:
  explicit Zeros(std::uint64_t bytes) : left_(bytes) {}
  Result<std::size_t> read(MutableBytes out) override {
    const auto some = static_cast<std::size_t>(std::min<std::uint64_t>(left_, out.size()));
    std::ranges::fill(out.first(some), std::uint8_t{0});
    left_ -= some;
    return some;
  }
  std::string name() const override { return "zeros"; }

 private:
  std::uint64_t left_;
};

}  // namespace

ServedAsset::ServedAsset(const std::string& directory, std::uint64_t plaintext_bytes, const std::string& server_lines)
    : directory_(directory), nginx_(directory, {.server_lines = server_lines}), key_(random_key()) {
  const Fd file = value_or_throw(open_file(ciphertext_path(), O_WRONLY | O_CREAT | O_EXCL, 0644));
  const auto header = value_or_throw(tbenc::new_header(kChunkBytes));
  Zeros zeros(plaintext_bytes);
  tbenc::FdSink sink(file.get(), "ciphertext");
  const auto sealed = value_or_throw(tbenc::encrypt(key_, header, zeros, sink));
  asset::ManifestDraft draft;
  draft.asset_id = "bench";
  draft.header = header;
  draft.plaintext_bytes = sealed.plaintext_bytes;
  draft.sha256_ciphertext = sealed.sha256_ciphertext;
  draft.content = asset::Content{};
  draft.content->name = "model.bin";
  manifest_ = value_or_throw(draft.build(key_));
  value_or_throw(write_file_atomically(manifest_path(), manifest_->text(), 0644, true));
  value_or_throw(write_file_atomically(key_path(), to_hex(key_.reveal()) + "\n", 0600, true));
  find_workers();
}

/// The kernel takes connections for nginx before its workers are there.
void ServedAsset::find_workers() {
  std::string master = value_or_throw(read_small_file(directory_ + "/nginx.pid"));
  while (master.ends_with('\n')) master.pop_back();
  for (int attempt = 0; workers_.size() != kWorkers; ++attempt) {
    if (attempt == 1000) throw Error("internal", "nginx has not the workers that it should have");
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    workers_ = children_of(master);
  }
}

double ServedAsset::server_cpu_seconds() const {
  double sum = 0;
  for (const std::string& worker : workers_) sum += cpu_seconds_of(worker);
  return sum;
}

Cost ServedAsset::cost_of(const std::function<void()>& work) const {
  const double server = server_cpu_seconds(), own = own_cpu_seconds(), start = seconds_now();
  work();
  return {seconds_now() - start, own_cpu_seconds() - own, server_cpu_seconds() - server};
}

}  // namespace tb::bench
