#include "sentinel/proxy/leak_filter.h"

#include <algorithm>

namespace tb::sentinel::proxy {
namespace {

class LeakVisit final : public Visit {
 public:
  LeakVisit(const HiddenPaths& hidden, obs::Counter& rewritten)
      : hidden_(hidden), rewrite_(hidden), rewritten_(rewritten) {}
  /// What is compressed cannot be looked into.
  std::optional<Refusal> on_request(Exchange& exchange) override {
    Fields& fields = exchange.request.fields;
    std::erase_if(fields, [](const Field& field) { return equal_fold(field.name, "accept-encoding"); });
    fields.push_back({"Accept-Encoding", "identity"});
    return std::nullopt;
  }
  BodyTransform* response_transform(Exchange&, ResponseHead& head) override {
    std::erase_if(head.fields, [this](const Field& field) { return tells_a_path(field.value); });
    const Field* type = find_field(head.fields, "content-type");
    const bool has_body = head.framing != Framing::kNone && (head.framing != Framing::kLength || head.length > 0);
    return has_body && type != nullptr && is_text(type->value) ? &rewrite_ : nullptr;
  }
  void on_end(Exchange&) override {
    if (rewrite_.has_rewritten()) rewritten_.add();
  }

 private:
  bool tells_a_path(std::string_view value) const {
    return std::ranges::any_of(hidden_.paths(), [value](const std::string& path) {
      // One of one segment is a word like others: `/models` stands in many a link.
      return path.find('/', 1) == std::string::npos ? value == path : value.find(path) != std::string_view::npos;
    });
  }

  const HiddenPaths& hidden_;
  PathRewrite rewrite_;
  obs::Counter& rewritten_;
};

class LeakFilter final : public Filter {
 public:
  LeakFilter(HiddenPaths hidden, obs::Metrics& metrics)
      : hidden_(std::move(hidden)),
        rewritten_(metrics.counter("trustbridge_sentinel_answers_rewritten_total",
                                   "answers in which a path of the model's was replaced")) {}
  std::unique_ptr<Visit> visit(const Exchange&) override { return std::make_unique<LeakVisit>(hidden_, rewritten_); }

 private:
  HiddenPaths hidden_;
  obs::Counter& rewritten_;
};

}  // namespace

HiddenPaths hidden_paths(const Config& config) {
  std::vector<std::string> paths = config.hidden_paths;
  paths.insert(paths.end(), {config.model_dir, config.pipe_path});
  return {std::move(paths), config.served_model_name};
}

bool is_text(std::string_view content_type) {
  std::string_view type = content_type.substr(0, content_type.find(';'));
  while (type.ends_with(' ') || type.ends_with('\t')) type.remove_suffix(1);
  const auto ends_with = [&](std::string_view end) {
    return type.size() >= end.size() && equal_fold(type.substr(type.size() - end.size()), end);
  };
  return ends_with("/json") || ends_with("+json") || ends_with("/x-ndjson") || equal_fold(type.substr(0, 5), "text/");
}

std::unique_ptr<Filter> leak_filter(HiddenPaths hidden, obs::Metrics& metrics) {
  return std::make_unique<LeakFilter>(std::move(hidden), metrics);
}

}  // namespace tb::sentinel::proxy
