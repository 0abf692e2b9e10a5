#include "cli/upload.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <filesystem>

#include "base/fs.h"
#include "cli/control_plane.h"
#include "cli/interrupt.h"
#include "cli/manifest_file.h"
#include "cli/paths.h"
#include "http/range.h"
#include "tbenc/parallel.h"

namespace tb::cli {
namespace {

constexpr std::string_view kCiphertextName = "model.tbenc";
constexpr std::string_view kManifestName = "model.manifest.json";
constexpr std::uint64_t kPieceBytes = std::uint64_t{32} << 20;
constexpr std::size_t kCopyBytes = std::size_t{1} << 20;
constexpr int kAttempts = 4;
constexpr int kResumeIncomplete = 308;

struct Asset {
  std::string path;
  asset::Manifest manifest;
  std::string manifest_text;  ///< as it lies in its file
  tbenc::FileSource source;
};

Asset open_asset(const UploadOptions& options) {
  ManifestFlags flags;
  flags.manifest = options.manifest.empty() ? manifest_path_of(options.ciphertext) : options.manifest;
  flags.asset_id = options.asset_id;
  flags.allow_unauthenticated = true;  // no key here: what is checked is that the two files belong together
  LoadedManifest loaded = load_manifest(flags, options.ciphertext, nullptr).value();
  std::string text = value_or_throw(read_small_file(flags.manifest, asset::kMaxManifestBytes));
  tbenc::FileSource source = value_or_throw(tbenc::FileSource::open(options.ciphertext));
  Bytes head(std::min<std::uint64_t>(source.size(), tbenc::kHeaderBytes));
  value_or_throw(source.read_at(0, head));
  const tbenc::Header header = value_or_throw(tbenc::parse_header(head));
  value_or_throw(asset::check_file(loaded.manifest, header, source.size()));
  return {options.ciphertext, std::move(loaded.manifest), std::move(text), std::move(source)};
}

void require_digest(const Asset& asset, const Digest& digest) {
  if (to_hex(digest) != asset.manifest.sha256_ciphertext()) {
    throw Error("ciphertext_digest_mismatch", asset.path + " has another SHA-256 than its manifest says");
  }
}

Uploaded copy_to_directory(const Asset& asset, const std::string& directory, const UploadOptions& options,
                           const Console& console) {
  const std::string folder = directory + "/models/" + asset.manifest.asset_id();
  value_or_throw(make_directories(folder, 0755));
  const std::string target = folder + "/" + std::string(kCiphertextName);
  const std::string manifest_target = folder + "/" + std::string(kManifestName);
  require_apart(asset.path, {target, manifest_target});
  AtomicFile file = value_or_throw(AtomicFile::create(target, 0644, options.force));
  AtomicFile manifest_file = value_or_throw(AtomicFile::create(manifest_target, 0644, options.force));
  require_space(target, asset.source.size());
  Progress progress(console, "upload", asset.source.size());
  Sha256 hash;
  Bytes buffer(kCopyBytes);
  for (std::uint64_t at = 0; at < asset.source.size();) {
    throw_if_interrupted();
    const MutableBytes piece(buffer.data(), std::min<std::uint64_t>(buffer.size(), asset.source.size() - at));
    value_or_throw(asset.source.read_at(at, piece));
    hash.update(piece);
    value_or_throw(write_full(file.fd(), piece, target));
    at += piece.size();
    progress.update(at);
  }
  value_or_throw(asset.source.check_unchanged());
  require_digest(asset, hash.finish());
  value_or_throw(write_full(manifest_file.fd(), as_bytes(asset.manifest_text), manifest_target));
  value_or_throw(file.commit());
  value_or_throw(manifest_file.commit());
  const std::string url = "file://" + std::filesystem::canonical(folder).string() + "/";
  return {asset.manifest.asset_id(), url + std::string(kCiphertextName), url + std::string(kManifestName),
          asset.source.size(), asset.source.size()};
}

// One blob into the embedded store, by pieces: `PUT` with Content-Range `bytes */total` asks how much is there (308 with
// `Range: bytes=0-n`, nothing without; 200 or 201 once it is whole), and with `bytes a-b/total` adds the next piece.
class BlobUpload {
 public:
  BlobUpload(ControlPlane& control_plane, std::string path, std::uint64_t total)
      : control_plane_(control_plane), path_(std::move(path)), total_(total) {}

  /// Bytes that the store holds already.
  std::uint64_t present() {
    return exchange({std::nullopt, total_}, [] { return http::ClientBody(std::string()); });
  }

  /// Sends [at, at + body's length); gives how much the store holds now.
  std::uint64_t send(std::uint64_t at, std::uint64_t bytes, const std::function<http::ClientBody()>& body) {
    return exchange({http::ByteRange{at, at + bytes - 1}, total_}, body);
  }

 private:
  std::uint64_t held_by(const http::ClientResponse& answer) const {
    if (answer.status != kResumeIncomplete) {
      ControlPlane::require_success(answer);
      return total_;
    }
    const std::string* range = answer.headers.find("Range");
    if (range == nullptr) return 0;
    const http::RangeChoice choice = http::choose_range(*range, total_);
    if (choice.outcome != http::RangeOutcome::kPartial || choice.range.first != 0) {
      throw Error("answer_malformed", "the control plane's answer to an upload has a broken Range");
    }
    return choice.range.last + 1;
  }

  std::uint64_t exchange(const http::ContentRange& range, const std::function<http::ClientBody()>& body) {
    for (int attempt = 0;; ++attempt) {
      const bool last = attempt + 1 == kAttempts;
      std::optional<http::ClientResponse> answer;
      try {
        http::ClientRequest request;
        request.method = "PUT";
        request.headers.set("Content-Range", http::content_range(range));
        request.headers.set("Content-Type", "application/octet-stream");
        request.body = body();
        answer = control_plane_.exchange(std::move(request), path_);
      } catch (const Error& error) {
        if (last || !error.retryable()) throw;
        control_plane_.pause(attempt, nullptr);
        continue;
      }
      if (last || !http::is_retryable_status(answer->status)) return held_by(*answer);
      control_plane_.pause(attempt, &*answer);
    }
  }

  ControlPlane& control_plane_;
  std::string path_;
  std::uint64_t total_;
};

std::string blob_path(const Asset& asset, std::string_view which) {
  return fmt::format("/api/v1/assets/{}/blobs/{}", path_part(asset.manifest.asset_id()), which);
}

Uploaded send_to_control_plane(const Asset& asset, const SettingFlags& settings, const Console& console) {
  ControlPlane control_plane(settle(settings), console);
  {
    Progress hashing(console, "hash", asset.source.size());
    tbenc::ParallelOptions options;
    options.cancel = &interrupt_flag();
    options.progress = [&hashing](std::uint64_t done) { hashing.update(done); };
    require_digest(asset, value_or_throw(tbenc::sha256_of(asset.source, options)));
  }
  const Fd fd = value_or_throw(open_file(asset.path, O_RDONLY));
  const std::uint64_t total = asset.source.size();
  BlobUpload ciphertext(control_plane, blob_path(asset, "ciphertext"), total);
  std::uint64_t at = ciphertext.present();
  const std::uint64_t resumed_at = at;
  if (at > 0 && at < total) console.note(fmt::format("resuming after {}", human_bytes(at)));
  if (at == total) console.note("the store has the ciphertext already");
  {
    Progress progress(console, "upload", total);
    while (at < total) {
      throw_if_interrupted();
      const std::uint64_t bytes = std::min(kPieceBytes, total - at);
      const std::uint64_t held =
          ciphertext.send(at, bytes, [&]() -> http::ClientBody { return http::FileRange{fd.get(), at, bytes}; });
      if (held <= at || held > total) throw Error("answer_malformed", "the control plane does not take the upload");
      at = held;
      progress.update(at);
    }
  }
  value_or_throw(asset.source.check_unchanged());
  BlobUpload manifest(control_plane, blob_path(asset, "manifest"), asset.manifest_text.size());
  if (manifest.present() < asset.manifest_text.size()) {
    manifest.send(0, asset.manifest_text.size(), [&]() -> http::ClientBody { return asset.manifest_text; });
  }
  const std::string base = fmt::format("store:{}/", asset.manifest.asset_id());
  return {asset.manifest.asset_id(), base + std::string(kCiphertextName), base + std::string(kManifestName), total,
          total - resumed_at};
}

}  // namespace

Uploaded upload_asset(const UploadOptions& options, const SettingFlags& settings, const Console& console) {
  constexpr std::string_view kFile = "file:";
  if (options.store.starts_with(kFile) && options.store.size() > kFile.size()) {
    return copy_to_directory(open_asset(options), options.store.substr(kFile.size()), options, console);
  }
  if (options.store == "cp:") return send_to_control_plane(open_asset(options), settings, console);
  throw Error("usage", "--store is neither file:DIR nor cp:");
}

}  // namespace tb::cli
