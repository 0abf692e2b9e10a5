#include "oci/program.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>

#include <deque>
#include <filesystem>
#include <set>

#include "base/fs.h"
#include "oci/elf.h"

namespace tb::oci {
namespace {

constexpr std::uint64_t kMaxFileBytes = std::uint64_t{512} << 20;
constexpr std::size_t kMaxLibraries = 512;

/// A file's bytes without a copy of them.
class MappedFile {
 public:
  explicit MappedFile(const std::string& path) {
    const Fd fd = value_or_throw(open_file(path, O_RDONLY));
    bytes_ = value_or_throw(file_size(fd.get(), path));
    if (bytes_ == 0 || bytes_ > kMaxFileBytes)
      throw Error("image_malformed", path + " is empty or too large for a program");
    at_ = ::mmap(nullptr, bytes_, PROT_READ, MAP_PRIVATE, fd.get(), 0);
    if (at_ == MAP_FAILED) throw error_from_errno(errno, path);
  }
  ~MappedFile() { ::munmap(at_, bytes_); }
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ByteView view() const { return {static_cast<const std::uint8_t*>(at_), bytes_}; }

 private:
  void* at_ = nullptr;
  std::uint64_t bytes_ = 0;
};

ElfFacts facts_of(const std::string& path) {
  const MappedFile file(path);
  auto facts = parse_elf(file.view());
  if (!facts) throw Error("image_malformed", path + " cannot be read as a program", std::move(facts.error()));
  return std::move(*facts);
}

std::string resolved(const std::string& path) {
  std::error_code fault;
  const auto out = std::filesystem::canonical(path, fault);
  if (fault) throw error_from_errno(fault.value(), path);
  return out.string();
}

std::string find_library(const std::string& name, const std::vector<std::string>& directories) {
  for (const std::string& directory : directories) {
    const std::string path = directory + "/" + name;
    std::error_code fault;
    if (std::filesystem::is_regular_file(path, fault)) return resolved(path);
  }
  return {};
}

}  // namespace

std::vector<std::string> library_directories() {
  return {"/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64", "/lib", "/usr/lib",
          "/usr/local/lib"};
}

Program read_program(const std::string& path, const std::vector<std::string>& loaded_later,
                     const std::vector<std::string>& directories) {
  Program out;
  out.path = resolved(path);
  out.name = std::filesystem::path(out.path).filename().string();
  const ElfFacts facts = facts_of(out.path);
  if (facts.interpreter.empty()) throw Error("image_malformed", path + " is no program that is loaded with libraries");
  if (facts.search_path != kSearchPath) {
    throw Error("image_malformed", fmt::format("{} does not look for its libraries in {}", path, kSearchPath))
        .with_hint("give a program of this version, as scripts/build.sh makes it");
  }
  out.loader = resolved(facts.interpreter);
  out.content = value_or_throw(read_small_file(out.path, kMaxFileBytes));
  value_or_throw(
      set_interpreter({reinterpret_cast<std::uint8_t*>(out.content.data()), out.content.size()}, facts, kLoaderPath));

  const std::string loader_name = facts_of(out.loader).name;
  std::set<std::string> known{loader_name};
  std::deque<std::string> wanted(facts.needed.begin(), facts.needed.end());
  for (const std::string& name : loaded_later) {
    if (!find_library(name, directories).empty()) wanted.push_back(name);
  }
  while (!wanted.empty()) {
    const std::string name = wanted.front();
    wanted.pop_front();
    if (!known.insert(name).second) continue;
    if (known.size() > kMaxLibraries) throw Error("image_malformed", path + " needs too many libraries");
    const std::string found = find_library(name, directories);
    if (found.empty())
      throw Error("file_not_found", fmt::format("{} needs {}, which is not on this machine", path, name));
    const ElfFacts library = facts_of(found);
    wanted.insert(wanted.end(), library.needed.begin(), library.needed.end());
    out.libraries.push_back({.name = name, .path = found});
  }
  return out;
}

}  // namespace tb::oci
