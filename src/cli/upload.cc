#include "cli/upload.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <filesystem>

#include "api/upload.h"
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
constexpr std::size_t kCopyBytes = std::size_t{1} << 20;
constexpr int kAttempts = 4;

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
  require_apart({asset.path, options.manifest}, {target, manifest_target});
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

// One blob into the embedded store, by pieces in order, as api/upload.h says. After a fault the store is asked where to
// go on, as a piece may have arrived whose answer did not.
class BlobUpload {
 public:
  using PieceAt = std::function<http::ClientBody(std::uint64_t at, std::uint64_t bytes)>;

  BlobUpload(ControlPlane& control_plane, std::string path, std::uint64_t total)
      : control_plane_(control_plane), path_(std::move(path)), total_(total) {}

  api::UploadState ask() {
    for (int attempt = 0;; ++attempt) {
      if (std::optional<http::ClientResponse> answer = attempted({std::nullopt, total_}, std::string(), attempt)) {
        return state_of(*answer);
      }
    }
  }

  /// Sends everything from `at` on; `done` hears how much the store holds.
  void send(std::uint64_t at, const PieceAt& piece_at, const std::function<void(std::uint64_t)>& done) {
    for (int attempt = 0; at < total_;) {
      throw_if_interrupted();
      const std::uint64_t bytes = std::min(api::kMaxUploadPieceBytes, total_ - at);
      const auto answer = attempted({http::ByteRange{at, at + bytes - 1}, total_}, piece_at(at, bytes), attempt);
      const api::UploadState state = answer ? state_of(*answer) : ask();
      const std::uint64_t held = state.complete ? total_ : static_cast<std::uint64_t>(state.received_bytes);
      if (answer && held != at + bytes) throw Error("answer_malformed", "the control plane does not take the upload");
      attempt = answer ? 0 : attempt + 1;
      at = held;
      done(at);
    }
  }

 private:
  static api::UploadState state_of(const http::ClientResponse& answer) {
    ControlPlane::require_success(answer);
    return api::UploadState::from_json(value_or_throw(Json::parse(answer.body)));
  }

  // Nothing after a fault that is worth another attempt, once it has waited for that.
  std::optional<http::ClientResponse> attempted(const http::ContentRange& range, http::ClientBody body, int attempt) {
    const bool last = attempt + 1 >= kAttempts;
    try {
      http::ClientRequest request;
      request.method = "PUT";
      request.headers.set("Content-Range", http::content_range(range));
      request.headers.set("Content-Type", "application/octet-stream");
      request.body = std::move(body);
      http::ClientResponse answer = control_plane_.exchange(std::move(request), path_);
      if (last || !http::is_retryable_status(answer.status)) return answer;
      control_plane_.pause(attempt, &answer);
    } catch (const Error& error) {
      if (last || !error.retryable()) throw;
      control_plane_.pause(attempt, nullptr);
    }
    return std::nullopt;
  }

  ControlPlane& control_plane_;
  std::string path_;
  std::uint64_t total_;
};

// Which ciphertext an unfinished upload was of. Without it a later ciphertext of the same size would be added to the
// first half of another.
class ResumeNote {
 public:
  ResumeNote(const Asset& asset, const std::string& endpoint)
      : path_(asset.path + ".upload"), text_(asset.manifest.sha256_ciphertext() + " " + endpoint + "\n") {}
  bool fits() const { return read_small_file(path_).value_or("") == text_; }
  /// Without one a later upload starts anew: a directory that cannot be written to is no fault.
  void write() const {
    if (!write_file_atomically(path_, text_, 0600, true)) return;
  }
  void remove() const { unlink(path_.c_str()); }

 private:
  std::string path_, text_;
};

std::string blob_path(const Asset& asset, std::string_view which) {
  return fmt::format("/api/v1/assets/{}/blobs/{}", path_part(asset.manifest.asset_id()), which);
}

Uploaded send_to_control_plane(const Asset& asset, const Settings& settings, const Console& console) {
  ControlPlane control_plane(settings, console);
  {
    Progress hashing(console, "hash", asset.source.size());
    tbenc::ParallelOptions options;
    options.cancel = &interrupt_flag();
    options.progress = [&hashing](std::uint64_t done) { hashing.update(done); };
    require_digest(asset, value_or_throw(tbenc::sha256_of(asset.source, options)));
  }
  const Fd fd = value_or_throw(open_file(asset.path, O_RDONLY));
  const std::uint64_t total = asset.source.size();
  const ResumeNote note(asset, settings.edc_endpoint);
  BlobUpload ciphertext(control_plane, blob_path(asset, "ciphertext"), total);
  const api::UploadState state = ciphertext.ask();
  const std::uint64_t start =
      state.complete ? total : (note.fits() ? std::min(static_cast<std::uint64_t>(state.received_bytes), total) : 0);
  if (state.complete) {
    console.warning("the store holds a ciphertext of this size under this asset already: it was not sent again");
  } else {
    if (start > 0) console.note(fmt::format("resuming after {}", human_bytes(start)));
    note.write();
    Progress progress(console, "upload", total);
    ciphertext.send(
        start, [&](std::uint64_t at, std::uint64_t bytes) { return http::FileRange{fd.get(), at, bytes}; },
        [&](std::uint64_t held) { progress.update(held); });
  }
  value_or_throw(asset.source.check_unchanged());
  BlobUpload manifest(control_plane, blob_path(asset, "manifest"), asset.manifest_text.size());
  if (!manifest.ask().complete) {
    manifest.send(
        0, [&](std::uint64_t at, std::uint64_t bytes) { return asset.manifest_text.substr(at, bytes); },
        [](std::uint64_t) {});
  }
  note.remove();
  const std::string base = fmt::format("store:{}/", asset.manifest.asset_id());
  return {asset.manifest.asset_id(), base + std::string(kCiphertextName), base + std::string(kManifestName), total,
          total - start};
}

}  // namespace

Uploaded upload_asset(const UploadOptions& options, const SettingFlags& settings, const Console& console) {
  constexpr std::string_view kFile = "file:";
  if (options.store.starts_with(kFile) && options.store.size() > kFile.size()) {
    return copy_to_directory(open_asset(options), options.store.substr(kFile.size()), options, console);
  }
  if (options.store == "cp:") return send_to_control_plane(open_asset(options), settle(settings), console);
  throw Error("usage", "--store is neither file:DIR nor cp:");
}

}  // namespace tb::cli
