#include "azure/app/archive.h"

#include <archive.h>
#include <archive_entry.h>
#include <gtest/gtest.h>

#include "base/error.h"

namespace tb::azure {
namespace {

std::string reason_of(std::string_view zip) {
  try {
    files_of_zip(as_bytes(zip));
  } catch (const Error& error) {
    return error.reason;
  }
  return "nothing";
}

struct Entry {
  std::string name, content;
  unsigned type = AE_IFREG;
};

// As another program would write it: compressed, in the order given.
std::string zip_with(const std::vector<Entry>& entries) {
  archive* zip = archive_write_new();
  archive_write_set_format_zip(zip);
  std::string out(std::size_t{1} << 20, '\0');
  std::size_t used = 0;
  archive_write_open_memory(zip, out.data(), out.size(), &used);
  for (const Entry& entry : entries) {
    archive_entry* e = archive_entry_new();
    archive_entry_set_pathname(e, entry.name.c_str());
    archive_entry_set_filetype(e, entry.type);
    archive_entry_set_perm(e, 0644);
    if (entry.type == AE_IFLNK) archive_entry_set_symlink(e, "/etc/passwd");
    archive_entry_set_size(e, static_cast<la_int64_t>(entry.content.size()));
    archive_write_header(zip, e);
    archive_write_data(zip, entry.content.data(), entry.content.size());
    archive_entry_free(e);
  }
  archive_write_close(zip);
  archive_write_free(zip);
  out.resize(used);
  return out;
}

TEST(Archive, GivesTheSameBytesForTheSameFiles) {
  const PackageFiles files = {{"b.json", "{}"}, {"a.json", std::string(100'000, 'x')}, {"empty", ""}};
  const std::string zip = zip_of(files);
  EXPECT_EQ(zip, zip_of(files));
  EXPECT_EQ(files_of_zip(as_bytes(zip)), files);
}

TEST(Archive, ReadsWhatOthersWrite) {
  const auto files = files_of_zip(
      as_bytes(zip_with({{"d/", "", AE_IFDIR}, {"d/x.json", "{}"}, {"mainTemplate.json", std::string(50'000, 'y')}})));
  EXPECT_EQ(files.size(), 2U);
  EXPECT_EQ(files.at("mainTemplate.json").size(), 50'000U);
}

TEST(Archive, RefusesWhatIsNoPackage) {
  EXPECT_EQ(reason_of(""), "package_malformed");
  EXPECT_EQ(reason_of("PK\x03\x04 and nothing"), "package_malformed");
  EXPECT_EQ(reason_of(zip_with({{"../x", "1"}})), "package_malformed");
  EXPECT_EQ(reason_of(zip_with({{"/etc/x", "1"}})), "package_malformed");
  EXPECT_EQ(reason_of(zip_with({{"a\nb", "1"}})), "package_malformed");
  EXPECT_EQ(reason_of(zip_with({{"a", "1"}, {"a", "2"}})), "package_malformed");
  EXPECT_EQ(reason_of(zip_with({{"link", "", AE_IFLNK}})), "package_malformed");
  EXPECT_EQ(reason_of(zip_with({{"bomb", std::string(kMaxFileBytes + 1, '\0')}})), "package_malformed");
  EXPECT_EQ(reason_of(zip_with(std::vector<Entry>(3, {"bomb", std::string(kMaxFileBytes, '\0')}))),
            "package_malformed");
  std::vector<Entry> many;
  for (std::size_t i = 0; i <= kMaxPackageFiles; ++i) many.push_back({std::to_string(i), ""});
  EXPECT_EQ(reason_of(zip_with(many)), "package_malformed");
  std::string damaged = zip_with({{"a.json", std::string(1000, 'a')}});
  damaged[60] = static_cast<char>(damaged[60] ^ 0x55);
  EXPECT_EQ(reason_of(damaged), "package_malformed");
}

}  // namespace
}  // namespace tb::azure
