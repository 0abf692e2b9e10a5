#include "oci/elf.h"

#include <elf.h>

#include <algorithm>
#include <cstring>
#include <optional>

namespace tb::oci {
namespace {

constexpr std::size_t kMaxSegments = 128;
constexpr std::size_t kMaxTags = 4096;
constexpr std::size_t kMaxNeeded = 512;
constexpr std::size_t kMaxNameBytes = 4096;

std::unexpected<Error> malformed(std::string what) {
  return fail("image_malformed", "the ELF file " + std::move(what));
}

template <typename T>
std::optional<T> read_at(ByteView file, std::uint64_t offset) {
  if (offset > file.size() || file.size() - offset < sizeof(T)) return std::nullopt;
  T out;
  std::memcpy(&out, file.data() + offset, sizeof(T));
  return out;
}

// A text ended by a zero byte, within `limit` bytes of the file's `offset`.
std::optional<std::string> text_at(ByteView file, std::uint64_t offset, std::uint64_t limit = kMaxNameBytes) {
  if (offset >= file.size()) return std::nullopt;
  const std::string_view rest = as_text(file.subspan(offset)).substr(0, std::min<std::uint64_t>(limit, kMaxNameBytes));
  const std::size_t end = rest.find('\0');
  if (end == std::string_view::npos) return std::nullopt;
  return std::string(rest.substr(0, end));
}

std::optional<std::uint64_t> file_offset(const std::vector<Elf64_Phdr>& segments, std::uint64_t address) {
  for (const Elf64_Phdr& one : segments) {
    if (one.p_type == PT_LOAD && address >= one.p_vaddr && address - one.p_vaddr < one.p_filesz) {
      const std::uint64_t out = one.p_offset + (address - one.p_vaddr);
      if (out >= one.p_offset) return out;
    }
  }
  return std::nullopt;
}

Result<> read_dynamic(ByteView file, const std::vector<Elf64_Phdr>& segments, const Elf64_Phdr& dynamic,
                      ElfFacts& facts) {
  std::vector<Elf64_Dyn> tags;
  std::optional<std::uint64_t> strings;
  for (std::uint64_t at = 0; at + sizeof(Elf64_Dyn) <= dynamic.p_filesz; at += sizeof(Elf64_Dyn)) {
    const auto tag = read_at<Elf64_Dyn>(file, dynamic.p_offset + at);
    if (!tag) return malformed("ends within its dynamic section");
    if (tag->d_tag == DT_NULL) break;
    if (tags.size() == kMaxTags) return malformed("has too many dynamic tags");
    if (tag->d_tag == DT_STRTAB) strings = file_offset(segments, tag->d_un.d_ptr);
    tags.push_back(*tag);
  }
  if (!strings) return malformed("has no string table");
  for (const Elf64_Dyn& tag : tags) {
    std::string* place = nullptr;
    if (tag.d_tag == DT_SONAME) place = &facts.name;
    if (tag.d_tag == DT_RPATH) place = &facts.search_path;
    if (tag.d_tag == DT_RUNPATH) place = &facts.own_search_path;
    if (place == nullptr && tag.d_tag != DT_NEEDED) continue;
    if (tag.d_un.d_val > file.size()) return malformed("names a library outside of itself");
    auto text = text_at(file, *strings + tag.d_un.d_val);
    if (!text) return malformed("names a library outside of itself");
    if (place != nullptr) {
      *place = std::move(*text);
      continue;
    }
    if (text->empty() || text->find('/') != std::string::npos || text->starts_with('.') ||
        facts.needed.size() == kMaxNeeded) {
      return malformed("needs a library whose name is refused");
    }
    facts.needed.push_back(std::move(*text));
  }
  if (facts.name.find('/') != std::string::npos || facts.name.starts_with('.'))
    return malformed("has a name that is refused");
  return {};
}

}  // namespace

Result<ElfFacts> parse_elf(ByteView file) {
  const auto head = read_at<Elf64_Ehdr>(file, 0);
  if (!head || std::memcmp(head->e_ident, ELFMAG, SELFMAG) != 0) return fail("image_malformed", "no ELF file");
  if (head->e_ident[EI_CLASS] != ELFCLASS64 || head->e_ident[EI_DATA] != ELFDATA2LSB || head->e_machine != EM_X86_64) {
    return malformed("is not for x86-64");
  }
  if (head->e_type != ET_EXEC && head->e_type != ET_DYN) return malformed("is no program and no library");
  if (head->e_phentsize != sizeof(Elf64_Phdr) || head->e_phnum > kMaxSegments)
    return malformed("has odd program headers");
  std::vector<Elf64_Phdr> segments;
  for (std::uint64_t i = 0; i < head->e_phnum; ++i) {
    if (head->e_phoff > file.size()) return malformed("ends within its program headers");
    const auto one = read_at<Elf64_Phdr>(file, head->e_phoff + i * sizeof(Elf64_Phdr));
    if (!one) return malformed("ends within its program headers");
    segments.push_back(*one);
  }
  ElfFacts facts;
  for (const Elf64_Phdr& one : segments) {
    if (one.p_type == PT_INTERP) {
      if (one.p_offset > file.size() || one.p_filesz > file.size() - one.p_offset)
        return malformed("ends within its interpreter");
      auto text = text_at(file, one.p_offset, one.p_filesz);
      if (!text || text->empty()) return malformed("names no interpreter");
      facts.interpreter = std::move(*text);
      facts.interpreter_offset = one.p_offset;
      facts.interpreter_bytes = one.p_filesz;
    }
    if (one.p_type == PT_DYNAMIC) {
      if (one.p_offset > file.size() || one.p_filesz > file.size() - one.p_offset)
        return malformed("ends within its dynamic section");
      TRY(read_dynamic(file, segments, one, facts));
    }
  }
  return facts;
}

Result<> set_interpreter(MutableBytes file, const ElfFacts& facts, std::string_view interpreter) {
  if (facts.interpreter.empty() || interpreter.empty() || interpreter.size() + 1 > facts.interpreter_bytes ||
      facts.interpreter_offset > file.size() || facts.interpreter_bytes > file.size() - facts.interpreter_offset) {
    return malformed("has no room for the interpreter " + std::string(interpreter));
  }
  const MutableBytes place = file.subspan(facts.interpreter_offset, facts.interpreter_bytes);
  std::ranges::fill(place, std::uint8_t{0});
  std::ranges::copy(as_bytes(interpreter), place.begin());
  return {};
}

}  // namespace tb::oci
