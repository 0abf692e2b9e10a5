// What an ELF program says of the libraries that it is loaded with (System V gABI, 64-bit little-endian): read by us
// and not by running the loader on it, as ldd does. Every offset is held against the file. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"

namespace tb::oci {

struct ElfFacts {
  std::string interpreter;               ///< empty for a library
  std::uint64_t interpreter_offset = 0;  ///< where its text stands in the file
  std::uint64_t interpreter_bytes = 0;   ///< of the segment, the closing zero included
  std::string name;                      ///< DT_SONAME of a library
  std::string search_path;               ///< DT_RPATH
  std::string own_search_path;           ///< DT_RUNPATH: it holds for the file's own libraries only
  std::vector<std::string> needed;       ///< in order
};

/// "image_malformed" for what is no program or library for x86-64 Linux, or contradicts itself.
Result<ElfFacts> parse_elf(ByteView file);

/// The same program, to be loaded by `interpreter`, which must not be longer than the one it names.
Result<> set_interpreter(MutableBytes file, const ElfFacts& facts, std::string_view interpreter);

}  // namespace tb::oci
