// An image's configuration: what a container of it starts as. A base image's own is parsed strictly where we read it,
// kept member for member where we do not, and changed by a plan. Pure.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace tb::oci {

struct HealthCheck {
  std::vector<std::string> command;  ///< exec form
  int interval_s = 10, timeout_s = 5, start_period_s = 300, retries = 3;
};

/// What our image says on top of its base.
struct ConfigChange {
  std::vector<std::string> entrypoint;  ///< exec form; the base's command goes with its entrypoint
  std::string user;                     ///< empty: the base's
  std::string working_dir;              ///< empty: the base's
  std::map<std::string, std::string> environment, labels;
  std::vector<std::string> exposed_ports;  ///< "8000/tcp"
  std::optional<HealthCheck> health;
  std::vector<std::string> diff_ids;  ///< of our layers, in order
  std::vector<std::string> history;   ///< one sentence a layer
  std::int64_t created_s = 0;         ///< UTC, seconds since 1970
};

/// A configuration that can be built upon: linux/amd64, as many diff ids as the manifest has layers.
class ImageConfig {
 public:
  /// Of an image of nothing.
  static ImageConfig scratch();
  /// "image_malformed".
  static Result<ImageConfig> parse(std::string_view text, std::size_t layers);

  ImageConfig with(const ConfigChange& change) const;
  std::string to_text() const { return document_.dump(); }
  /// Value of `name` in the environment, or "".
  std::string environment(std::string_view name) const;
  std::vector<std::string> diff_ids() const;

 private:
  explicit ImageConfig(Json document) : document_(std::move(document)) {}
  Json document_;
};

}  // namespace tb::oci
