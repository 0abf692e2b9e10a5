#include "oms/digests.h"

#include <fmt/format.h>

#include <algorithm>

namespace tb::oms {
namespace {

constexpr std::string_view kNameless = ".";

[[noreturn]] void mismatch(std::string what) {
  throw Error("oms_content_mismatch", std::move(what));
}

/// True if both are models of one file and one of them does not say how it is called.
bool is_one_nameless_file(const Statement& statement, const std::vector<Resource>& found) {
  if (statement.shard_bytes != 0 || statement.resources.size() != 1 || found.size() != 1) return false;
  return statement.resources.front().name == kNameless || found.front().name == kNameless;
}

}  // namespace

ModelDigests::ModelDigests(const asset::Content* content, std::uint64_t plaintext_bytes, std::uint64_t shard_bytes)
    : content_(content), total_(plaintext_bytes), shard_bytes_(shard_bytes) {
  if (content_ != nullptr && content_->is_tar()) map_ = value_or_throw(asset::TarMap::make(*content_, plaintext_bytes));
}

void ModelDigests::update(ByteView plain) {
  if (!map_) {
    take(content_ == nullptr ? kNameless : std::string_view(content_->name), total_, at_, plain);
  } else {
    for (const asset::TarMap::Piece& piece : map_->pieces(at_, plain.size())) {
      if (!piece.is_file) continue;
      const asset::ContentFile& file = content_->files[piece.index];
      take(file.path, file.bytes, piece.offset, plain.subspan(piece.at, piece.bytes));
    }
  }
  at_ += plain.size();
}

void ModelDigests::take(std::string_view path, std::uint64_t file_bytes, std::uint64_t offset, ByteView bytes) {
  while (!bytes.empty() && offset < file_bytes) {
    const std::uint64_t start = shard_bytes_ == 0 ? 0 : offset - offset % shard_bytes_;
    const std::uint64_t end = shard_bytes_ == 0 ? file_bytes : std::min(file_bytes, start + shard_bytes_);
    const std::size_t part = static_cast<std::size_t>(std::min<std::uint64_t>(bytes.size(), end - offset));
    hash_.update(bytes.first(part));
    offset += part;
    bytes = bytes.subspan(part);
    if (offset == end) add(path, start, end);
  }
}

void ModelDigests::add(std::string_view path, std::uint64_t start, std::uint64_t end) {
  found_.push_back({shard_bytes_ == 0 ? std::string(path) : shard_name(path, start, end), hash_.finish()});
}

std::vector<Resource> ModelDigests::finish() {
  if (at_ != total_) mismatch("the plaintext was not read to its end");
  if (!map_ && total_ == 0) add(content_ == nullptr ? kNameless : std::string_view(content_->name), 0, 0);
  if (map_) {
    for (const asset::ContentFile& file : content_->files) {
      if (file.bytes == 0) add(file.path, 0, 0);
    }
  }
  std::ranges::sort(found_, {}, &Resource::name);
  return std::move(found_);
}

Statement statement_of(std::vector<Resource> found, std::string subject, bool followed_links) {
  Statement statement;
  statement.subject = std::move(subject);
  statement.allow_symlinks = followed_links;
  statement.ignore_paths = default_ignore_paths();
  std::erase_if(found, [&](const Resource& resource) { return statement.ignores(resource.name); });
  if (found.empty()) mismatch("the model holds no file that can be signed");
  statement.resources = std::move(found);
  return statement;
}

void require_same(const Statement& signed_by, const std::vector<Resource>& found) {
  if (is_one_nameless_file(signed_by, found)) {
    if (signed_by.resources.front().digest != found.front().digest)
      mismatch("the file was changed after it was signed");
    return;
  }
  std::vector<Resource> expected = signed_by.resources;
  std::ranges::sort(expected, {}, &Resource::name);
  auto want = expected.begin();
  for (const Resource& have : found) {
    if (want != expected.end() && want->name < have.name) break;
    if (want == expected.end() || have.name < want->name) {
      const std::string_view path = file_of(signed_by, have);
      if (signed_by.ignores(path)) continue;
      mismatch(fmt::format("'{}' is in the model and was not signed", path));
    }
    if (have.digest != want->digest) {
      mismatch(fmt::format("'{}' was changed after it was signed", file_of(signed_by, have)));
    }
    ++want;
  }
  if (want != expected.end())
    mismatch(fmt::format("'{}' was signed and is not in the model", file_of(signed_by, *want)));
}

}  // namespace tb::oms
