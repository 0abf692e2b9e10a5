// A program and everything that it is loaded with, found by reading it: the closure of its shared libraries, in order,
// and the loader itself. Nothing is executed.
#pragma once

#include <string>
#include <vector>

namespace tb::oci {

struct LibraryFile {
  std::string name;  ///< what programs call it: libssl.so.3
  std::string path;  ///< the file, links resolved
};

struct Program {
  std::string path;
  std::string name;     ///< last part of `path`
  std::string content;  ///< its bytes, made to be loaded by kLoaderPath
  std::string loader;   ///< the machine's own loader, links resolved
  std::vector<LibraryFile> libraries;
};

/// Where an image has its parts: a place of its own, so that the same files work on a base image of any libc or none.
inline constexpr std::string_view kPrefix = "opt/trustbridge";
inline constexpr std::string_view kLoaderPath = "/opt/trustbridge/ld.so";
/// What our programs are linked with (DT_RPATH), from their own directory.
inline constexpr std::string_view kSearchPath = "$ORIGIN/../lib/trustbridge";

/// Where Debian and its kin keep libraries.
std::vector<std::string> library_directories();

/// `loaded_later`: libraries that the program opens by name at run time; those that are not there are left out. Throws
/// "image_malformed" (no program of ours for x86-64), "file_not_found" naming the library that is missing.
Program read_program(const std::string& path, const std::vector<std::string>& loaded_later,
                     const std::vector<std::string>& directories = library_directories());

}  // namespace tb::oci
