#include "cli/oms.h"

#include <fmt/format.h>

#include <filesystem>
#include <set>

#include "base/clock.h"
#include "base/fs.h"
#include "cli/interrupt.h"
#include "cli/paths.h"

namespace tb::cli {
namespace {

constexpr std::size_t kReadBytes = std::size_t{1} << 20;
constexpr std::string_view kBundleInside = "model.sig";

/// The bundle's path within the model if it lies there; else empty.
std::string inside(const std::string& model, const std::string& bundle) {
  std::error_code fault;
  const auto relative =
      std::filesystem::canonical(bundle, fault).lexically_relative(std::filesystem::canonical(model, fault));
  const std::string text = relative.generic_string();
  return fault || text.empty() || text.starts_with("..") || text == "." ? std::string() : text;
}

std::string name_of(const std::string& path) {
  std::error_code fault;
  const std::string name = std::filesystem::canonical(path, fault).filename().string();
  return fault || name.empty() ? "model" : name;
}

}  // namespace

std::string oms_bundle_path_of(const std::string& ciphertext) {
  constexpr std::string_view kSuffix = ".tbenc";
  const bool ours = ciphertext.ends_with(kSuffix);
  return (ours ? ciphertext.substr(0, ciphertext.size() - kSuffix.size()) : ciphertext) + ".sig";
}

OmsSigning::OmsSigning(oms::SigningKey key, std::vector<Bytes> chain, const asset::PackSource& source)
    : key_(std::move(key)),
      chain_(std::move(chain)),
      source_(&source),
      digests_(&source.content(), source.plaintext_bytes()) {}

std::optional<OmsSigning> OmsSigning::begin(const OmsSignFlags& flags, const asset::PackSource& source) {
  if (flags.key.empty()) {
    if (!flags.certificates.empty() || !flags.bundle.empty()) {
      throw Error("usage", "--oms-certificates and --oms-bundle need --oms-key");
    }
    return std::nullopt;
  }
  oms::SigningKey key = oms::SigningKey::from_pem(value_or_throw(read_secret_file(flags.key)));
  std::vector<Bytes> chain;
  if (!flags.certificates.empty()) {
    chain = oms::certificates_from_pem(value_or_throw(read_small_file(flags.certificates)));
    oms::require_certified(key, chain);
  }
  return OmsSigning(std::move(key), std::move(chain), source);
}

std::string OmsSigning::finish() {
  const oms::Statement statement =
      oms::statement_of(digests_.finish(), name_of(source_->name()), source_->followed_link());
  return oms::sign(statement, key_, chain_).text();
}

oms::Statement read_signed_statement(const OmsVerifyFlags& flags, const std::string& default_bundle) {
  if (flags.key.empty() && flags.ca.empty()) throw Error("usage", "--oms-bundle needs --oms-key or --oms-ca");
  oms::Trust trust;
  trust.now = unix_ms_now();
  if (!flags.key.empty()) trust.key = oms::PublicKey::from_pem(value_or_throw(read_small_file(flags.key)));
  if (!flags.ca.empty()) trust.anchors = oms::certificates_from_pem(value_or_throw(read_small_file(flags.ca)));
  const std::string& path = flags.bundle.empty() ? default_bundle : flags.bundle;
  return oms::verify(oms::Bundle::parse(value_or_throw(read_small_file(path, oms::kMaxBundleBytes))), trust);
}

OmsProof proof_of(const oms::Statement& statement) {
  std::set<std::string_view> files;
  for (const oms::Resource& resource : statement.resources) files.insert(oms::file_of(statement, resource));
  return {statement.subject, files.size()};
}

VerifiedModel verify_open_model(const std::string& path, const OmsVerifyFlags& flags, const Console& console) {
  const bool directory = is_directory(path);
  const std::string beside =
      directory ? (std::filesystem::path(path) / kBundleInside).string() : oms_bundle_path_of(path);
  oms::Statement statement = read_signed_statement(flags, beside);
  const OmsProof proof = proof_of(statement);
  asset::PackSource source = value_or_throw(asset::PackSource::scan(path));
  if (source.followed_link() && !statement.allow_symlinks) {
    throw Error("oms_content_mismatch", "the model holds a link, and the signer followed none");
  }
  oms::ModelDigests digests(&source.content(), source.plaintext_bytes(), statement.shard_bytes);
  Progress progress(console, "verify", source.plaintext_bytes());
  Bytes buffer(kReadBytes);
  std::uint64_t done = 0;
  for (std::size_t got = buffer.size(); got == buffer.size();) {
    throw_if_interrupted();
    got = value_or_throw(source.read(buffer));
    digests.update(ByteView(buffer).first(got));
    progress.update(done += got);
  }
  if (directory) {
    if (std::string own = inside(path, flags.bundle.empty() ? beside : flags.bundle); !own.empty()) {
      statement.ignore_paths.push_back(std::move(own));
    }
  }
  oms::require_same(statement, digests.finish());
  return {proof, source.plaintext_bytes()};
}

}  // namespace tb::cli
