#include "oci/registry.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <charconv>

#include "oci/registry_link.h"

namespace tb::oci {
namespace {

constexpr int kMaxRedirects = 4;

bool is_redirect(int status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

std::string with_query(const std::string& url, const std::string& query) {
  return url + (url.find('?') == std::string::npos ? "?" : "&") + query;
}

// "0-1023" of an upload under way: how many bytes the registry holds.
std::optional<std::uint64_t> held_bytes(std::string_view range) {
  if (range.starts_with("bytes=")) range.remove_prefix(6);
  if (!range.starts_with("0-")) return std::nullopt;
  range.remove_prefix(2);
  std::uint64_t last = 0;
  const auto [end, fault] = std::from_chars(range.data(), range.data() + range.size(), last);
  if (fault != std::errc() || end != range.data() + range.size() || last >= kMaxBlobBytes) return std::nullopt;
  return last == 0 ? 0 : last + 1;  // some say 0-0 of nothing
}

}  // namespace

struct Registry::Impl {
  Impl(const Reference& place, RegistryOptions options) : link(place, std::move(options)) {}

  void progress(std::uint64_t bytes) {
    if (link.options().progress) link.options().progress(bytes);
  }

  // POST: where to send a blob.
  std::string begin_upload() {
    const http::ClientResponse answer =
        link.send({.method = "POST", .url = link.url("blobs/uploads/"), .headers = {}, .body = std::string()});
    if (answer.status != 202) link.refuse(answer, "a new upload");
    return link.absolute(answer.headers.get("Location"));
  }

  // One piece, or where the registry is after a fault. Gives how many bytes it holds; `location` follows its word.
  std::uint64_t send_piece(std::string& location, int fd, std::uint64_t at, std::uint64_t bytes) {
    RegistryLink::Ask ask{.method = "PATCH", .url = location, .headers = {}, .body = http::FileRange{fd, at, bytes}};
    ask.headers.set("Content-Type", "application/octet-stream");
    ask.headers.set("Content-Range", fmt::format("{}-{}", at, at + bytes - 1));
    const http::ClientResponse answer = link.send_once(ask);
    if (answer.status != 202) {
      // 416: it holds another number of bytes than we think; asking tells.
      if (answer.status == 416) throw Error("network_unreachable", "the registry holds other bytes of the upload");
      if (http::is_retryable_status(answer.status))
        throw Error("network_unreachable", fmt::format("the registry answered {}", answer.status));
      link.refuse(answer, "a piece of a blob");
    }
    location = link.absolute(answer.headers.get("Location"));
    const auto held = held_bytes(answer.headers.get("Range"));
    return held.value_or(at + bytes);
  }

  std::optional<std::uint64_t> ask_held(std::string& location) {
    const http::ClientResponse answer = link.send({.method = "GET", .url = location, .headers = {}, .body = {}});
    if (answer.status == 404) return std::nullopt;
    if (answer.status != 204 && answer.status != 202) link.refuse(answer, "a question for an upload");
    if (const std::string* moved = answer.headers.find("Location")) location = link.absolute(*moved);
    return held_bytes(answer.headers.get("Range"));
  }

  /// False if the registry has forgotten the upload: begin anew.
  bool send_pieces(std::string& location, int fd, const Descriptor& blob) {
    std::uint64_t at = 0;
    for (int attempt = 1; at < blob.bytes;) {
      try {
        const std::uint64_t bytes = std::min(link.options().piece_bytes, blob.bytes - at);
        const std::uint64_t held = send_piece(location, fd, at, bytes);
        if (held > blob.bytes || held <= at) throw Error("registry_refused", "the registry does not take the upload");
        progress(held - at);
        at = held;
        attempt = 1;
      } catch (const Error& error) {
        if (!error.retryable()) throw;
        if (!link.wait(attempt++, nullptr))
          throw Error("registry_unavailable", "an upload to the registry was cut again and again", error);
        const auto held = ask_held(location);
        if (!held || *held > blob.bytes) return false;
        if (*held > at) progress(*held - at);
        at = *held;
      }
    }
    return true;
  }

  // PUT: with all bytes, or without a body after pieces. False if the registry has forgotten the upload.
  bool finish_upload(const std::string& location, const Descriptor& blob, int fd, bool whole) {
    RegistryLink::Ask ask{.method = "PUT",
                          .url = with_query(location, "digest=" + escaped_query(blob.digest)),
                          .headers = {},
                          .body = {}};
    ask.headers.set("Content-Type", "application/octet-stream");
    if (whole) {
      ask.body = http::FileRange{fd, 0, blob.bytes};
    } else {
      ask.body = std::string();
    }
    const http::ClientResponse answer = link.send_once(ask);
    if (answer.status == 201 || answer.status == 204) return true;
    if (answer.status == 404 || answer.status == 416) return false;
    if (http::is_retryable_status(answer.status))
      throw Error("network_unreachable", fmt::format("the registry answered {}", answer.status));
    link.refuse(answer, "the end of a blob");
  }

  RegistryLink link;
};

Registry::Registry(const Reference& place, RegistryOptions options)
    : impl_(std::make_unique<Impl>(place, std::move(options))) {}
Registry::~Registry() = default;

bool Registry::has_blob(const Descriptor& blob) {
  RegistryLink& link = impl_->link;
  const http::ClientResponse answer =
      link.send({.method = "HEAD", .url = link.url("blobs/" + blob.digest), .headers = {}, .body = {}});
  if (answer.status == 404) return false;
  // A store behind the registry answers for it: that it sends us there is answer enough.
  if (answer.status == 200 || is_redirect(answer.status)) return true;
  link.refuse(answer, "a question for a blob");
}

bool Registry::mount_blob(const Descriptor& blob, const std::string& from) {
  RegistryLink& link = impl_->link;
  const std::string url =
      with_query(link.url("blobs/uploads/"), "mount=" + escaped_query(blob.digest) + "&from=" + escaped_query(from));
  const http::ClientResponse answer = link.send({.method = "POST", .url = url, .headers = {}, .body = std::string()});
  if (answer.status == 201) impl_->progress(blob.bytes);
  return answer.status == 201;
}

bool Registry::push_blob(const Descriptor& blob, const std::string& path) {
  const Fd fd = value_or_throw(open_file(path, O_RDONLY));
  for (int attempt = 1;; ++attempt) {
    if (has_blob(blob)) return impl_->progress(attempt == 1 ? blob.bytes : 0), attempt > 1;
    try {
      std::string location = impl_->begin_upload();
      const bool whole = blob.bytes <= impl_->link.options().piece_bytes;
      const bool sent = whole || impl_->send_pieces(location, fd.get(), blob);
      if (sent && impl_->finish_upload(location, blob, fd.get(), whole)) {
        if (whole) impl_->progress(blob.bytes);
        return true;
      }
      if (!impl_->link.wait(attempt, nullptr)) throw Error("registry_unavailable", "the registry forgets uploads");
    } catch (const Error& error) {
      if (error.reason == "registry_unavailable" || !error.retryable()) throw;
      // The answer to the last request may be what was lost: the next round asks whether the blob is there.
      if (!impl_->link.wait(attempt, nullptr))
        throw Error("registry_unavailable", "a blob cannot be brought to the registry", error);
    }
  }
}

void Registry::push_manifest(const std::string& target, std::string_view media_type, const std::string& text) {
  RegistryLink& link = impl_->link;
  RegistryLink::Ask ask{.method = "PUT", .url = link.url("manifests/" + target), .headers = {}, .body = {}};
  ask.headers.set("Content-Type", media_type);
  const http::ClientResponse answer = link.send(std::move(ask), [&] { return http::ClientBody(text); });
  if (answer.status != 201) link.refuse(answer, "the manifest");
  if (manifest(target).text != text) {
    throw Error("image_digest_mismatch",
                fmt::format("{} gives another manifest under {} than was put there", link.repository(), target));
  }
}

Registry::FoundManifest Registry::manifest(const std::string& target) {
  RegistryLink& link = impl_->link;
  RegistryLink::Ask ask{.method = "GET", .url = link.url("manifests/" + target), .headers = {}, .body = {}};
  ask.headers.set("Accept",
                  fmt::format("{}, {}, {}, {}", kManifestType, kIndexType, kDockerManifestType, kDockerListType));
  http::ClientResponse answer = link.send(std::move(ask));
  if (answer.status != 200) link.refuse(answer, "a question for the manifest " + target);
  std::string_view type = answer.headers.get("Content-Type");
  type = type.substr(0, type.find(';'));
  if (!is_index_type(type) && !is_manifest_type(type))
    throw Error("image_malformed", target + " is neither an image nor an index of images");
  FoundManifest out{.descriptor = describe(type, answer.body), .text = std::move(answer.body)};
  if (is_digest(target) && out.descriptor.digest != target) {
    throw Error("image_digest_mismatch", fmt::format("the registry gives another manifest than {}", target));
  }
  return out;
}

void Registry::pull_blob(const Descriptor& blob, const BlobFolder& folder) {
  if (folder.has(blob)) return impl_->progress(blob.bytes);
  RegistryLink& link = impl_->link;
  for (int attempt = 1;; ++attempt) {
    try {
      std::string url = link.url("blobs/" + blob.digest);
      for (int hop = 0;; ++hop) {
        IncomingBlob incoming(folder);
        const auto sink = [&](ByteView piece) {
          incoming.write(piece);
          impl_->progress(piece.size());
          return true;
        };
        const http::ClientResponse answer = link.send_once(
            {.method = "GET", .url = url, .headers = {}, .body = {}, .max_answer_bytes = blob.bytes},
            [](const http::ClientResponse& head) { return head.status == 200; }, sink);
        if (answer.status == 200) return incoming.keep_as(blob);
        if (!is_redirect(answer.status) || hop == kMaxRedirects) {
          if (http::is_retryable_status(answer.status))
            throw Error("network_unreachable", fmt::format("the registry answered {}", answer.status));
          link.refuse(answer, "a question for a blob");
        }
        url = link.absolute(answer.headers.get("Location"));
      }
    } catch (const Error& error) {
      if (!error.retryable()) throw;
      if (!link.wait(attempt, nullptr))
        throw Error("registry_unavailable", "a blob cannot be fetched from the registry", error);
    }
  }
}

}  // namespace tb::oci
