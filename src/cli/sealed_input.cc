#include "cli/sealed_input.h"

#include <fmt/format.h>

#include "asset/sealed_chunks.h"
#include "base/fs.h"
#include "blob/http_source.h"
#include "cli/interrupt.h"
#include "cli/paths.h"
#include "hydrate/hydration.h"
#include "tbenc/parallel.h"

namespace tb::cli {
namespace {

bool is_url(std::string_view text) {
  return text.starts_with("https://") || text.starts_with("http://");
}

/// A Hydration and what it reads through, in the order in which they may go.
class RemoteChunks final : public asset::ChunkSource {
 public:
  RemoteChunks(const http::ClientConfig& config, const SecretUrl& url, hydrate::AuthenticatedManifest manifest,
               const FileKey& key)
      : client_(config),
        source_(client_, std::make_shared<blob::UrlProvider>(blob::DatedUrl(url.clone()))),
        hydration_({.cache = hydrate::CacheKind::kNone}, std::move(manifest), key.clone(), source_) {
    hydration_.prepare(true, {});
  }
  const tbenc::Layout& layout() const override { return hydration_.layout(); }
  Result<> open_chunk(std::uint64_t index, MutableBytes plain, std::stop_token stop) override {
    return hydration_.open_chunk(index, plain, std::move(stop));
  }

 private:
  http::Client client_;
  blob::HttpSource source_;
  hydrate::Hydration hydration_;
};

void require_digest(const tbenc::RandomSource& source, const asset::Manifest& manifest, const Console& console) {
  Progress progress(console, "hash", source.size());
  tbenc::ParallelOptions hashing;
  hashing.cancel = &interrupt_flag();
  hashing.progress = [&progress](std::uint64_t done) { progress.update(done); };
  if (to_hex(value_or_throw(tbenc::sha256_of(source, hashing))) != manifest.sha256_ciphertext()) {
    throw Error("ciphertext_digest_mismatch",
                fmt::format("{} has another SHA-256 than its manifest says", source.name()));
  }
}

SealedInput from_file(const SealedInputOptions& options, const FileKey& key, const Console& console) {
  LoadedManifest loaded = load_manifest(options.manifest, options.in, &key).value();
  const auto source = std::make_shared<tbenc::FileSource>(value_or_throw(tbenc::FileSource::open(options.in)));
  auto chunks = value_or_throw(asset::SealedChunks::open(key, source, loaded.manifest.known()));
  if (loaded.proof.needs_ciphertext_sha256()) require_digest(*source, loaded.manifest, console);
  return {std::move(loaded), std::move(chunks)};
}

SealedInput from_url(const SealedInputOptions& options, const SecretUrl& url, const FileKey& key) {
  const Settings settings = settle(options.network);
  http::ClientConfig config;
  config.ca_path = settings.ca_path;
  config.user_agent = "trustbridge";
  config.policy = http::AddressPolicy::configured(settings.allow_insecure_http);

  std::optional<LoadedManifest> loaded;
  if (!options.manifest.manifest.empty()) {
    loaded = load_manifest(options.manifest, {}, &key);
  } else if (!options.in_url_file.empty()) {
    throw Error("usage", "--in-url-file needs --manifest");
  } else {
    http::Client client(config);
    blob::UrlProvider place(blob::DatedUrl(SecretUrl(manifest_path_of(options.in))));
    loaded = authenticated(
        value_or_throw(asset::Manifest::parse(blob::fetch_document(client, place, asset::kMaxManifestBytes))),
        options.manifest, &key);
  }
  if (!loaded->proof.mac) {
    throw Error("mac_missing", "what lies behind a URL is shown piece by piece, which needs a manifest with a mac")
        .with_hint("download the file and mount it from there");
  }
  auto chunks =
      std::make_shared<RemoteChunks>(config, url, hydrate::AuthenticatedManifest{loaded->manifest, loaded->proof}, key);
  return {std::move(*loaded), std::move(chunks)};
}

}  // namespace

SealedInput open_sealed_input(const SealedInputOptions& options, const FileKey& key, const Console& console) {
  if (options.in.empty() == options.in_url_file.empty()) throw Error("usage", "give either --in or --in-url-file");
  if (!options.in_url_file.empty()) {
    const SecretString text = value_or_throw(read_secret_file(options.in_url_file, 16384));
    const std::string_view line = text.reveal();
    return from_url(options, SecretUrl(std::string(line.substr(0, line.find_first_of("\r\n")))), key);
  }
  if (options.in == "-") throw Error("usage", "a mount reads anywhere: standard input cannot be mounted");
  if (!is_url(options.in)) return from_file(options, key, console);
  if (options.in.find('?') != std::string::npos) {
    throw Error("usage", "a URL with a query may be signed, and a command line is everybody's to read")
        .with_hint("put it into a file of mode 0600 and give that with --in-url-file");
  }
  return from_url(options, SecretUrl(options.in), key);
}

}  // namespace tb::cli
