// Any https store that answers ranges and takes PUT (WebDAV): `models/<asset_id>/…` under the URL. One PUT a blob,
// which begins anew after a fault: there is nothing to resume by. If-None-Match is sent for stores that know it; the
// look before and after is what stands for those that do not.
#include <fmt/format.h>

#include <charconv>
#include <thread>

#include "async/backoff.h"
#include "async/rate_limit.h"
#include "async/stop.h"
#include "base/clock.h"
#include "base/fs.h"
#include "cli/asset_store.h"
#include "cli/byte_pipe.h"
#include "cli/interrupt.h"
#include "http/client.h"

namespace tb::cli {
namespace {

constexpr std::size_t kPipeBytes = std::size_t{16} << 20;
constexpr async::BackoffPolicy kBackoff{.first_ms = 1000, .max_ms = 30'000, .attempts = 6};

/// What lies at a URL.
struct Standing {
  std::uint64_t bytes = 0;
  std::string etag;
};

Error fault_of(const http::ClientResponse& answer, const std::string& what) {
  const std::string message = fmt::format("the store answered {} to {}", answer.status, what);
  switch (answer.status) {
    case 401:
    case 403:
      return Error("blob_refused", message)
          .with_hint("give --authorization-file: a 0600 file with the value of Authorization, as in Bearer TOKEN");
    case 404:
    case 409:
      return Error("blob_not_found", message)
          .with_hint("the store must make the directories of a PUT itself (nginx: create_full_put_path on)");
    case 405:
    case 501:
      return Error("store_answer_unexpected", message).with_hint("the store must take PUT (nginx: dav_methods PUT)");
    case 412:
      return {"blob_conflict", message};
    case 413:
      return Error("store_answer_unexpected", message)
          .with_hint("the store's limit on bodies is too low (nginx: client_max_body_size 0)");
    case 507:
      return {"disk_full", message};
    default:
      return {http::is_retryable_status(answer.status) ? "server_busy" : "store_answer_unexpected", message};
  }
}

class RangeStore final : public AssetStore {
 public:
  RangeStore(const StoreFlags& flags, const Settings& settings, const Console& console)
      : base_(flags.store), replace_(flags.replace), console_(console) {
    while (base_.ends_with('/')) base_.pop_back();
    if (base_.find_first_of("?#@ ") != std::string::npos) {
      throw Error("usage", "--store https:URL has no query, no fragment and no user: give --authorization-file");
    }
    if (!flags.authorization_file.empty()) {
      const SecretString text = value_or_throw(read_secret_file(flags.authorization_file));
      const std::string_view line = std::string_view(text.reveal()).substr(0, text.reveal().find_first_of("\r\n"));
      if (line.empty()) throw Error("config_invalid", flags.authorization_file + " is empty");
      authorization_ = SecretString(std::string(line));
    }
    if (flags.max_bytes_per_second > 0) limit_ = std::make_unique<async::RateLimit>(flags.max_bytes_per_second);
    client_ = std::make_unique<http::Client>(
        http::ClientConfig{.ca_path = settings.ca_path,
                           .policy = http::AddressPolicy::configured(settings.allow_insecure_http),
                           .stall_timeout_ms = 60'000});
  }

  std::string place(const std::string& asset_id) const override { return url(asset_id, kCiphertextName); }

  Uploaded upload(const LocalAsset& asset) override {
    const std::string& id = asset.manifest.asset_id();
    const std::uint64_t total = asset.source.size();
    const std::string& sha256 = asset.manifest.sha256_ciphertext();
    if (!is_there(url(id, kManifestName), asset.manifest_text.size(), sha256_hex(asset.manifest_text))) {
      require_free_or_replaced(url(id, kManifestName));
    }
    Uploaded done{.asset_id = id};
    if (auto there = is_there(place(id), total, sha256)) {
      done.ciphertext = *there;
      console_.note(there->url + " is there already, with the same content");
    } else {
      require_free_or_replaced(place(id));
      Progress progress(console_, "upload", total);
      done.ciphertext = put_until_there(place(id), total, sha256, [&] { return checked_file(asset, progress); });
    }
    done.manifest = put_manifest(id, asset.manifest_text);
    return done;
  }

  std::unique_ptr<CiphertextStream> stream(const std::string& asset_id, std::uint64_t total_bytes) override {
    require_free_or_replaced(url(asset_id, kManifestName));
    require_free_or_replaced(place(asset_id));
    return std::make_unique<Stream>(*this, place(asset_id), total_bytes);
  }

  std::optional<StoredBlob> find(const std::string& asset_id, std::uint64_t bytes, const std::string& sha256) override {
    return is_there(place(asset_id), bytes, sha256);
  }

  StoredBlob put_manifest(const std::string& asset_id, const std::string& text) override {
    const std::string at = url(asset_id, kManifestName);
    const std::string sha256 = sha256_hex(text);
    if (auto there = is_there(at, text.size(), sha256)) return *there;
    require_free_or_replaced(at);
    return put_until_there(at, text.size(), sha256, [&] { return http::ClientBody(text); });
  }

 private:
  using MakeBody = std::function<http::ClientBody()>;

  // Sends what the sealing threads write, as one body. The last byte waits for commit(): the object appears with it.
  class Stream final : public CiphertextStream {
   public:
    Stream(RangeStore& store, std::string target, std::uint64_t total)
        : store_(store),
          target_(std::move(target)),
          total_(total),
          interrupted_(store.stop_.token(), [this] { stop_.request_stop(); }),
          sender_([this] { send(); }) {}
    ~Stream() override {
      stop_.request_stop();
      pipe_.break_off();
    }
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
      // Without an answer the store may have it all the same.
      if (fault_ && !(fault_->retryable() && store_.is_there(target_, total_, sha256))) throw Error(*fault_);
      return store_.verified(target_, total_, sha256);
    }

   private:
    void send() {
      std::uint64_t next = 0;
      const auto read = [&](std::uint64_t offset, MutableBytes out) {
        // Nothing of it can be had again.
        if (offset != next)
          throw Error("network_unreachable", "the connection ended in the middle of an upload that cannot go back");
        if (store_.limit_) store_.limit_->take(out.size(), stop_.get_token());
        pipe_.read(out);
        next += out.size();
      };
      try {
        const http::ClientResponse answer = store_.put(target_, http::PulledBody{total_, read}, stop_.get_token());
        if (answer.status / 100 != 2) throw fault_of(answer, "PUT " + target_);
      } catch (const Error& error) {
        fault_ = error;
        pipe_.refuse(error);
      }
    }

    RangeStore& store_;
    const std::string target_;
    const std::uint64_t total_;
    BytePipe pipe_{kPipeBytes};
    std::stop_source stop_;
    std::uint64_t written_ = 0;
    std::uint8_t last_ = 0;
    std::optional<Error> fault_;  ///< the sender's, to be read once it is joined
    std::stop_callback<std::function<void()>> interrupted_;
    std::jthread sender_;
  };

  std::string url(const std::string& asset_id, std::string_view name) const {
    return fmt::format("{}/models/{}/{}", base_, asset_id, name);
  }

  http::ClientRequest request(const std::string& method, const std::string& at) const {
    http::ClientRequest out;
    out.method = method;
    out.url = SecretUrl(at);
    if (!authorization_.empty()) out.headers.set("Authorization", authorization_.reveal());
    out.max_answer_bytes = 65536;
    out.stop = stop_.token();
    return out;
  }

  http::ClientResponse put(const std::string& at, http::ClientBody body, std::stop_token stop) {
    http::ClientRequest asked = request("PUT", at);
    asked.headers.set("Content-Type", "application/octet-stream");
    if (!replace_) asked.headers.set("If-None-Match", "*");
    asked.body = std::move(body);
    asked.stop = std::move(stop);
    return client_->send(asked);
  }

  /// Repeats what is harmless to repeat. Throws after the last attempt.
  template <typename Attempt>
  auto repeated(Attempt attempt) {
    for (int number = 1;; ++number) {
      std::optional<Error> why;
      try {
        return attempt();
      } catch (const Error& error) {
        if (!error.retryable()) throw;
        why = error;
      }
      const auto wait = async::next_delay(kBackoff, number);
      if (!wait) throw Error(*why);
      console_.note(fmt::format("{}: trying again in {}", printable(why->message),
                                human_seconds(static_cast<std::uint64_t>(*wait + 999) / 1000)));
      if (!async::sleep_unless_stopped(stop_.token(), std::chrono::milliseconds(*wait))) {
        throw Error("cancelled", "interrupted");
      }
    }
  }

  std::optional<Standing> look(const std::string& at) {
    return repeated([&]() -> std::optional<Standing> {
      const http::ClientResponse answer = client_->send(request("HEAD", at));
      if (answer.status == 404) return std::nullopt;
      if (answer.status != 200) throw fault_of(answer, "HEAD " + at);
      Standing standing{.etag = std::string(answer.headers.get("ETag"))};
      const std::string_view length = answer.headers.get("Content-Length");
      const auto [end, error] = std::from_chars(length.data(), length.data() + length.size(), standing.bytes);
      if (error != std::errc() || end != length.data() + length.size()) {
        throw Error("answer_malformed", "the store does not say how long " + at + " is");
      }
      return standing;
    });
  }

  StoredBlob blob_of(const std::string& at, const Standing& standing, const std::string& sha256) const {
    return {.url = at, .etag = standing.etag, .sha256 = sha256, .bytes = standing.bytes};
  }

  /// What is there with this content, which is read and hashed: the store notes no digest.
  std::optional<StoredBlob> is_there(const std::string& at, std::uint64_t bytes, const std::string& sha256) {
    const auto standing = look(at);
    if (!standing || standing->bytes != bytes) return std::nullopt;
    const std::string there = repeated([&] {
      Sha256 hash;
      http::ClientRequest asked = request("GET", at);
      asked.max_answer_bytes = bytes;
      const http::ClientResponse answer = client_->fetch(
          asked, [](const http::ClientResponse& head) { return head.status == 200; },
          [&](ByteView piece) {
            hash.update(piece);
            return true;
          });
      if (answer.status != 200) throw fault_of(answer, "GET " + at);
      return to_hex(hash.finish());
    });
    if (there != sha256) return std::nullopt;
    StoredBlob blob = blob_of(at, *standing, sha256);
    blob.already_there = true;
    return blob;
  }

  void require_free_or_replaced(const std::string& at) {
    if (replace_ || !look(at)) return;
    throw Error("blob_conflict", at + " is there already, with other content")
        .with_hint(
            "use another asset id; --overwrite replaces it, and breaks what was registered or is being downloaded");
  }

  StoredBlob verified(const std::string& at, std::uint64_t bytes, const std::string& sha256) {
    const auto standing = look(at);
    if (!standing || standing->bytes != bytes) throw Error("upload_unverified", at + " is not there as it was written");
    StoredBlob blob = blob_of(at, *standing, sha256);
    blob.sent_bytes = bytes;
    return blob;
  }

  StoredBlob put_until_there(const std::string& at, std::uint64_t bytes, const std::string& sha256,
                             const MakeBody& body) {
    bool lost = false;
    return repeated([&] {
      if (lost) {
        if (auto there = is_there(at, bytes, sha256)) return *there;
      }
      lost = true;
      const http::ClientResponse answer = put(at, body(), stop_.token());
      if (answer.status / 100 != 2) throw fault_of(answer, "PUT " + at);
      return verified(at, bytes, sha256);
    });
  }

  /// Hashed while it is sent. The last piece goes only if the whole is what the manifest says: else the body ends short
  /// of its length, and nothing appears.
  http::ClientBody checked_file(const LocalAsset& asset, Progress& progress) {
    auto hash = std::make_shared<Sha256>();
    const std::uint64_t total = asset.source.size();
    return http::PulledBody{total, [this, &asset, &progress, hash, total](std::uint64_t offset, MutableBytes out) {
                              if (offset == 0) *hash = Sha256();
                              if (limit_) limit_->take(out.size(), stop_.token());
                              value_or_throw(asset.source.read_at(offset, out));
                              hash->update(out);
                              if (offset + out.size() == total) {
                                value_or_throw(asset.source.check_unchanged());
                                require_digest(asset, hash->finish());
                              }
                              progress.update(offset + out.size());
                            }};
  }

  std::string base_;
  bool replace_;
  Console console_;
  const StopOnInterrupt stop_;
  SecretString authorization_;
  std::unique_ptr<async::RateLimit> limit_;
  std::unique_ptr<http::Client> client_;
};

}  // namespace

std::unique_ptr<AssetStore> open_range_store(const StoreFlags& flags, const Settings& settings,
                                             const Console& console) {
  return std::make_unique<RangeStore>(flags, settings, console);
}

}  // namespace tb::cli
