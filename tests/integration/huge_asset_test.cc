// An asset of 300 GiB by arithmetic: its ciphertext is made when it is asked for, its files are read through a real
// mount, and the memory of the process stays within its bound. spec: tbenc-v1 2 (any byte can be found by arithmetic)
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <random>
#include <thread>

#include "base/crypto.h"
#include "deliver/mount.h"
#include "hydrate/hydration.h"
#include "tbenc/chunk.h"

namespace tb {
namespace {

constexpr std::uint64_t kGiB = std::uint64_t{1} << 30;
constexpr std::uint64_t kPlainBytes = 300 * kGiB + 12345;
constexpr std::uint32_t kChunkBytes = 4U << 20;
constexpr std::uint64_t kMostResidentBytes = std::uint64_t{128} << 20;

/// Byte `offset` of the plaintext: no two pages are equal.
std::uint64_t word_at(std::uint64_t offset) {
  return (offset / 8 + 1) * 0x9e3779b97f4a7c15U;
}
void fill_plain(std::uint64_t offset, MutableBytes out) {
  for (std::size_t i = 0; i < out.size(); ++i) {
    const std::uint64_t at = offset + i;
    out[i] = static_cast<std::uint8_t>(word_at(at) >> (at % 8 * 8));
  }
}

/// Seals the record that is asked for, whichever it is.
class Sealing final : public blob::BlobSource {
 public:
  Sealing(const FileKey& key, const tbenc::Header& header, const tbenc::Layout& layout)
      : cipher_(key, header), layout_(layout) {}
  blob::BlobStat stat() override { return {layout_.ciphertext_bytes(), "\"made\""}; }
  void fetch(std::uint64_t offset, std::uint64_t bytes, const blob::ByteSink& sink, std::stop_token) override {
    const std::uint64_t end = offset + bytes;
    if (offset < tbenc::kHeaderBytes) {
      const auto header = tbenc::encode_header(cipher_.header());
      sink(ByteView(header).subspan(static_cast<std::size_t>(offset)));
      offset = tbenc::kHeaderBytes;
    }
    tbenc::ChunkCipher cipher = cipher_.clone();
    Bytes plain, record;
    while (offset < end) {
      const std::uint64_t chunk = (offset - tbenc::kHeaderBytes) / layout_.record_bytes(0);
      plain.resize(layout_.chunk_plain_bytes(chunk));
      record.resize(static_cast<std::size_t>(layout_.record_bytes(chunk)));
      fill_plain(layout_.plain_offset(chunk), plain);
      cipher.seal(chunk, plain, record);
      const auto from = static_cast<std::size_t>(offset - layout_.record_offset(chunk));
      const auto some = static_cast<std::size_t>(std::min<std::uint64_t>(record.size() - from, end - offset));
      sink(ByteView(record).subspan(from, some));
      offset += some;
      ++records;
    }
  }
  std::string printable() const override { return "made:asset"; }

  std::atomic<int> records = 0;

 private:
  tbenc::ChunkCipher cipher_;
  tbenc::Layout layout_;
};

std::uint64_t peak_resident_bytes() {
  std::ifstream status("/proc/self/status");
  std::string line;
  while (std::getline(status, line)) {
    if (line.starts_with("VmHWM:")) return std::stoull(line.substr(6)) * 1024;
  }
  return 0;
}

struct HugeAsset : testing::Test {
  HugeAsset() {
    asset::ManifestDraft draft;
    draft.asset_id = "huge";
    draft.header = header;
    draft.plaintext_bytes = kPlainBytes;
    asset::Content content;
    content.name = "model.gguf";
    draft.content = std::move(content);
    asset.emplace(hydrate::AuthenticatedManifest{value_or_throw(draft.build(key)), {.mac = true}});
    layout.emplace(asset->manifest.layout());
    source.emplace(key, header, *layout);
  }
  FileKey key = random_key();
  tbenc::Header header = value_or_throw(tbenc::new_header(kChunkBytes));
  std::optional<hydrate::AuthenticatedManifest> asset;
  std::optional<tbenc::Layout> layout;
  std::optional<Sealing> source;
};

TEST_F(HugeAsset, IsReadAnywhereThroughAMountWithinTheMemoryBound) {
  if (auto works = deliver::mount_works(); !works) GTEST_SKIP() << "NOT PROVEN: " << works.error().story();
  const std::string place = "/dev/shm/tb-huge-" + random_token(9);
  auto hydration = std::make_shared<hydrate::Hydration>(hydrate::Options{.cache = hydrate::CacheKind::kNone}, *asset,
                                                        key.clone(), *source);
  auto mount = deliver::make_mount({.model_dir = place, .runtime_uid = geteuid(), .allow_swap = true});
  std::ofstream("/proc/self/clear_refs") << "5";
  value_or_throw(mount->begin(asset->manifest, *layout));
  hydration->prepare(true, {});
  mount->serve(hydration);
  EXPECT_EQ(std::filesystem::file_size(mount->path()), kPlainBytes);

  std::atomic<int> wrong = 0;
  const auto check = [&](int fd, std::uint64_t at, std::size_t bytes) {
    Bytes got(bytes), want(bytes);
    if (pread(fd, got.data(), bytes, static_cast<off_t>(at)) != static_cast<ssize_t>(bytes)) ++wrong;
    fill_plain(at, want);
    if (got != want) ++wrong;
  };
  {
    std::vector<std::jthread> readers;
    for (unsigned reader = 0; reader < 64; ++reader) {
      readers.emplace_back([&, reader] {
        std::mt19937_64 random(reader);
        const Fd fd(open(mount->path().c_str(), O_RDONLY | O_CLOEXEC));
        for (int i = 0; i < 8; ++i) check(fd.get(), random() % (kPlainBytes - 4096), 4096);
      });
    }
  }
  const Fd fd(open(mount->path().c_str(), O_RDONLY | O_CLOEXEC));
  check(fd.get(), 0, 1U << 20);
  check(fd.get(), (std::uint64_t{1} << 32) - 5000, 10'000);
  check(fd.get(), 256 * kGiB - 5000, 10'000);
  check(fd.get(), kPlainBytes - 20'000, 20'000);
  EXPECT_EQ(wrong, 0);
  EXPECT_LT(peak_resident_bytes(), kMostResidentBytes);
  EXPECT_TRUE(mount->revoke());
  mount.reset();
  std::filesystem::remove_all(place);
  RecordProperty("records", source->records.load());
}

TEST_F(HugeAsset, ADiskThatIsTooSmallIsSaidBeforeAnythingIsFetched) {
  const std::string place = testing::TempDir() + "/tb-huge-" + random_token(9);
  asset::ManifestDraft draft;
  draft.asset_id = "huge";
  draft.header = header;
  draft.plaintext_bytes = kPlainBytes * 1000;
  hydrate::Hydration hydration({.cache = hydrate::CacheKind::kDisk, .cache_directory = place},
                               {value_or_throw(draft.build(key)), {.mac = true}}, key.clone(), *source);
  try {
    hydration.prepare(true, {});
    FAIL() << "300 TiB fit";
  } catch (const Error& error) {
    EXPECT_EQ(error.reason, "disk_full");
    EXPECT_NE(error.message.find("MiB"), std::string::npos);
  }
  EXPECT_EQ(source->records, 0);
  std::filesystem::remove_all(place);
}

}  // namespace
}  // namespace tb
