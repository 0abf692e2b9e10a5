// The plaintext of a ciphertext as a RandomSource, so that `inspect` reads a model's headers without opening the rest.
#pragma once

#include <string>
#include <utility>

#include "tbenc/random_access.h"
#include "tbenc/source.h"

namespace tb::asset {

/// Unlike other RandomSources, one thread at a time: the reader keeps the last chunk it opened.
class PlainSource final : public tbenc::RandomSource {
 public:
  PlainSource(tbenc::RandomReader reader, std::string name) : reader_(std::move(reader)), name_(std::move(name)) {}
  std::uint64_t size() const override { return reader_.layout().plaintext_bytes(); }
  Result<> read_at(std::uint64_t offset, MutableBytes out) const override { return reader_.read_at(offset, out); }
  std::string name() const override { return name_; }

 private:
  mutable tbenc::RandomReader reader_;
  std::string name_;
};

}  // namespace tb::asset
