// Where the pieces of an asset lie by default, and the refusals that keep an output from eating an input.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace tb::cli {

/// `dir/model.tbenc` for a directory that exists, else `out` itself.
std::string ciphertext_path(const std::string& out);
/// `model.manifest.json` beside `model.tbenc`; other names get `.manifest.json` added.
std::string manifest_path_of(const std::string& ciphertext);
std::string key_path_of(const std::string& ciphertext);
/// Last part of a path.
std::string base_name(const std::string& path);
bool is_directory(const std::string& path);
bool exists(const std::string& path);

/// Throws "output_is_input" if two of `outputs` are one path, or one of them is one of `inputs` or lies inside it. An
/// input that is empty or "-" is none.
void require_apart(const std::vector<std::string>& inputs, const std::vector<std::string>& outputs);
/// Throws "output_exists" if `path` is there.
void require_free(const std::string& path);
/// Throws "disk_full" if the file system of `path` has fewer free bytes than `bytes`; what cannot be asked passes.
void require_space(const std::string& path, std::uint64_t bytes);

}  // namespace tb::cli
