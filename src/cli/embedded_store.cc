// The control plane's embedded store (`cp:`), by pieces in order as api/upload.h says.
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <thread>

#include "api/upload.h"
#include "base/fs.h"
#include "cli/asset_store.h"
#include "cli/byte_pipe.h"
#include "cli/control_plane.h"
#include "cli/interrupt.h"
#include "http/range.h"
#include "tbenc/parallel.h"

namespace tb::cli {
namespace {

constexpr int kAttempts = 4;
constexpr std::size_t kPipeBytes = std::size_t{16} << 20;

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
  ResumeNote(const LocalAsset& asset, const std::string& endpoint)
      : path_(asset.path + ".upload"), text_(asset.manifest.sha256_ciphertext() + " " + endpoint + "\n") {}
  bool fits() const { return read_small_file(path_).value_or("") == text_; }
  /// Without a whole one a later upload starts anew: a directory that cannot be written to is no fault, and a file
  /// written aside would only be one more to be left by a kill.
  void write() const {
    const auto file = open_file(path_, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600);
    if (file) (void)write_full(file->get(), as_bytes(text_), path_);
  }
  void remove() const { unlink(path_.c_str()); }

 private:
  std::string path_, text_;
};

std::string blob_path(const std::string& asset_id, std::string_view which) {
  return fmt::format("/api/v1/assets/{}/blobs/{}", path_part(asset_id), which);
}

Error conflict(const std::string& asset_id, std::string_view which) {
  return {"blob_conflict", fmt::format("the store holds a {} of {} already", which, asset_id)};
}

// Pieces on their way as they are made. The piece in hand is kept until the store has it; the last byte of all waits
// for commit(), as the store makes an object appear with its last piece.
class EmbeddedStream final : public CiphertextStream {
 public:
  EmbeddedStream(ControlPlane& control_plane, std::string asset_id, std::uint64_t total)
      : asset_id_(std::move(asset_id)),
        total_(total),
        upload_(control_plane, blob_path(asset_id_, "ciphertext"), total) {
    if (upload_.ask().complete) throw conflict(asset_id_, "ciphertext");
    sender_ = std::jthread([this] { send(); });
  }
  ~EmbeddedStream() override { pipe_.break_off(); }

  Result<> write(ByteView bytes) override {
    if (bytes.size() > total_ - written_) return fail("source_changed", "more came than was to be uploaded");
    written_ += bytes.size();
    if (!bytes.empty() && written_ == total_) {
      last_ = bytes.back();
      bytes = bytes.first(bytes.size() - 1);
    }
    try {
      pipe_.write(bytes);
      return {};
    } catch (const Error& error) {
      return fail(error);
    }
  }
  void finish() override {
    if (written_ != total_) throw Error("source_changed", "less came than was to be uploaded");
  }
  StoredBlob commit(const std::string& sha256) override {
    pipe_.write({&last_, 1});
    sender_.join();
    if (fault_) throw Error(*fault_);
    if (!upload_.ask().complete) throw Error("upload_unverified", "the store does not hold what it took");
    return {.url = fmt::format("store:{}/{}", asset_id_, kCiphertextName),
            .sha256 = sha256,
            .bytes = total_,
            .sent_bytes = total_};
  }

 private:
  void send() {
    Bytes kept;
    std::uint64_t kept_at = 0;
    const auto piece = [&](std::uint64_t at, std::uint64_t bytes) -> http::ClientBody {
      if (at < kept_at || at > kept_at + kept.size()) {
        throw Error("upload_offset_wrong", "the store wants a piece again that it had taken");
      }
      kept.erase(kept.begin(), kept.begin() + static_cast<std::ptrdiff_t>(at - kept_at));
      kept_at = at;
      const std::size_t had = kept.size();
      if (had < bytes) {
        kept.resize(bytes);
        pipe_.read(MutableBytes(kept).subspan(had));
      }
      return http::PulledBody{bytes, [&kept](std::uint64_t offset, MutableBytes out) {
                                std::copy_n(kept.begin() + static_cast<std::ptrdiff_t>(offset), out.size(),
                                            out.begin());
                              }};
    };
    try {
      upload_.send(0, piece, [](std::uint64_t) {});
    } catch (const Error& error) {
      fault_ = error;
      pipe_.refuse(error);
    }
  }

  const std::string asset_id_;
  const std::uint64_t total_;
  BlobUpload upload_;
  BytePipe pipe_{kPipeBytes};
  std::uint64_t written_ = 0;
  std::uint8_t last_ = 0;
  std::optional<Error> fault_;  ///< the sender's, to be read once it is joined
  std::jthread sender_;
};

class EmbeddedStore final : public AssetStore {
 public:
  EmbeddedStore(const Settings& settings, const Console& console)
      : endpoint_(settings.edc_endpoint), console_(console), control_plane_(settings, console) {}

  std::string place(const std::string& asset_id) const override {
    return fmt::format("store:{}/{} of {}", asset_id, kCiphertextName, endpoint_);
  }

  Uploaded upload(const LocalAsset& asset) override {
    {
      Progress hashing(console_, "hash", asset.source.size());
      tbenc::ParallelOptions options;
      options.cancel = &interrupt_flag();
      options.progress = [&hashing](std::uint64_t done) { hashing.update(done); };
      require_digest(asset, value_or_throw(tbenc::sha256_of(asset.source, options)));
    }
    const std::string& id = asset.manifest.asset_id();
    const Fd fd = value_or_throw(open_file(asset.path, O_RDONLY));
    const std::uint64_t total = asset.source.size();
    const ResumeNote note(asset, endpoint_);
    BlobUpload ciphertext(control_plane_, blob_path(id, "ciphertext"), total);
    const api::UploadState state = ciphertext.ask();
    const std::uint64_t start =
        state.complete ? total : (note.fits() ? std::min(static_cast<std::uint64_t>(state.received_bytes), total) : 0);
    if (state.complete) {
      console_.warning("the store holds a ciphertext of this size under this asset already: it was not sent again");
    } else {
      if (start > 0) console_.note(fmt::format("resuming after {}", human_bytes(start)));
      note.write();
      Progress progress(console_, "upload", total);
      ciphertext.send(
          start, [&](std::uint64_t at, std::uint64_t bytes) { return http::FileRange{fd.get(), at, bytes}; },
          [&](std::uint64_t held) { progress.update(held); });
    }
    value_or_throw(asset.source.check_unchanged());
    Uploaded done{.asset_id = id,
                  .ciphertext = {.url = fmt::format("store:{}/{}", id, kCiphertextName),
                                 .sha256 = asset.manifest.sha256_ciphertext(),
                                 .bytes = total,
                                 .sent_bytes = total - start,
                                 .already_there = state.complete},
                  .manifest = put_manifest(id, asset.manifest_text)};
    note.remove();
    return done;
  }

  std::unique_ptr<CiphertextStream> stream(const std::string& asset_id, std::uint64_t total_bytes) override {
    return std::make_unique<EmbeddedStream>(control_plane_, asset_id, total_bytes);
  }

  /// The store tells the size only: what is there with it was made by the run whose manifest asks.
  std::optional<StoredBlob> find(const std::string& asset_id, std::uint64_t bytes, const std::string& sha256) override {
    if (!BlobUpload(control_plane_, blob_path(asset_id, "ciphertext"), bytes).ask().complete) return std::nullopt;
    return StoredBlob{.url = fmt::format("store:{}/{}", asset_id, kCiphertextName),
                      .sha256 = sha256,
                      .bytes = bytes,
                      .already_there = true};
  }

  StoredBlob put_manifest(const std::string& asset_id, const std::string& text) override {
    StoredBlob blob{
        .url = fmt::format("store:{}/{}", asset_id, kManifestName), .sha256 = sha256_hex(text), .bytes = text.size()};
    BlobUpload manifest(control_plane_, blob_path(asset_id, "manifest"), text.size());
    blob.already_there = manifest.ask().complete;
    if (!blob.already_there) {
      manifest.send(
          0, [&](std::uint64_t at, std::uint64_t bytes) { return text.substr(at, bytes); }, [](std::uint64_t) {});
      blob.sent_bytes = text.size();
    }
    return blob;
  }

 private:
  std::string endpoint_;
  Console console_;
  ControlPlane control_plane_;
};

}  // namespace

std::unique_ptr<AssetStore> open_embedded_store(const Settings& settings, const Console& console) {
  return std::make_unique<EmbeddedStore>(settings, console);
}

}  // namespace tb::cli
