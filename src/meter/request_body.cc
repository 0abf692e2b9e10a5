#include "meter/request_body.h"

#include <algorithm>
#include <ranges>
#include <utility>

#include "base/json.h"

namespace tb::meter {
namespace {

/// What the edits of a body may add to it without a new place for the whole.
constexpr std::size_t kEditRoom = 256;

enum Path {
  kModel,
  kStream,
  kStreamOptions,
  kN,
  kBestOf,
  kNCompletions,
  kMaxTokens,
  kMaxCompletionTokens,
  kMaxOutputTokens,
  kNPredict,
  kPrompt,
  kEcho,
  kBackground,
  kPreviousResponse,
  kConversation,
  kParametersMaxTokens,
  kPromptId,
};

const JsonPaths& paths() {
  // An image, a file or a sound costs tokens that the bytes of the body do not bound where it is named by a URL.
  static const JsonPaths kPaths(
      {"model", "stream", "stream_options", "n", "best_of", "n_cmpl", "max_tokens", "max_completion_tokens",
       "max_output_tokens", "n_predict", "prompt", "echo", "background", "previous_response_id", "conversation",
       "parameters.max_tokens", "prompt.id"},
      {"image_url", "input_image", "image", "images", "input_audio", "audio_url", "video_url", "file_id", "file_url",
       "source", "multimodal_data"});
  return kPaths;
}

bool is_null(const Picked& value) {
  return value.kind == Picked::Kind::kNull;
}
bool is_bool(const Picked& value) {
  return value.kind == Picked::Kind::kTrue || value.kind == Picked::Kind::kFalse;
}
bool is_true(const Picked& value) {
  return value.kind == Picked::Kind::kTrue;
}

/// Whether every runtime that serves the dialect keeps this limit. Others may raise what is generated, by some
/// runtimes, but are no promise.
bool binds(Dialect dialect, int path) {
  switch (dialect) {
    case Dialect::kChat:
      return path == kMaxTokens || path == kMaxCompletionTokens;
    case Dialect::kCompletions:
    case Dialect::kMessages:
      return path == kMaxTokens;
    case Dialect::kResponses:
      return path == kMaxOutputTokens;
    case Dialect::kLlama:
      return path == kNPredict;
    default:
      return false;
  }
}

std::string_view limit_name(Dialect dialect) {
  return dialect == Dialect::kLlama ? "n_predict" : dialect == Dialect::kResponses ? "max_output_tokens" : "max_tokens";
}

/// a × b, or `most` + 1 where that is more.
std::int64_t product(std::int64_t a, std::int64_t b, std::int64_t most) {
  return a != 0 && b > most / a ? most + 1 : std::min(a * b, most + 1);
}

}  // namespace

RequestBody::RequestBody(Dialect dialect, Judge judge)
    : dialect_(dialect), judge_(std::move(judge)), reader_(*this), pick_(paths(), reader_) {}

std::string_view RequestBody::held(std::uint64_t begin, std::uint64_t end) const {
  return std::string_view(held_).substr(begin - held_from_, end - begin);
}

void RequestBody::refuse(std::string_view message) {
  if (!fault_) fault_ = BodyFault{400, "bad_request", message};
}

void RequestBody::take_name(int path, std::uint64_t begin, std::uint64_t) {
  if (path == kStreamOptions && must_ask_for_usage(dialect_)) options_name_begin_ = begin;
  const bool limits = path >= kMaxTokens && path <= kNPredict;
  if (limits && !first_limit_begin_) first_limit_begin_ = begin;
}

void RequestBody::take_count(const Picked& value, std::int64_t most, std::optional<std::int64_t>& into) {
  std::int64_t count = 0;
  if (is_null(value)) return;
  if (!value.is_integer(count) || count < 1 || count > most) {
    return refuse("n and best_of must be whole numbers from 1 to 16384");
  }
  into = count;
}

void RequestBody::take_limit(const Picked& value) {
  const int ours = dialect_ == Dialect::kLlama       ? kNPredict
                   : dialect_ == Dialect::kResponses ? kMaxOutputTokens
                                                     : kMaxTokens;
  Limit limit{.begin = value.begin,
              .end = value.end,
              .given = !is_null(value),
              .binds = binds(dialect_, value.path),
              .is_ours = value.path == ours};
  const bool may_be_negative = value.path == kNPredict;
  if (limit.given && (!value.is_integer(limit.value) || (limit.value < 0 && !may_be_negative))) {
    return refuse("the limit of tokens must be a whole number, not negative");
  }
  if (limits_.size() >= kMaxLimits) return refuse("the request body limits its tokens too often");
  limits_.push_back(limit);
}

void RequestBody::take_prompt(const Picked& value) {
  using enum Picked::Kind;
  if (value.kind != kArray) return;
  // Tokens as numbers are one prompt; several prompts are strings, or lists of numbers.
  const bool several = value.first_item == kString || value.first_item == kArray || value.first_item == kObject;
  if (several) facts_.prompts = static_cast<std::int64_t>(value.items);
}

void RequestBody::take(const Picked& value) {
  switch (value.path) {
    case kModel:
      if (value.kind == Picked::Kind::kString) facts_.model = value.text;
      return;
    case kStream:
      if (!is_bool(value) && !is_null(value)) return refuse("stream must be true or false");
      stream_ = is_true(value);
      return;
    case kStreamOptions:
      return take_stream_options(value);
    case kN:
    case kNCompletions:
      return take_count(value, kMaxSequences, n_);
    case kBestOf:
      return take_count(value, kMaxSequences, best_of_);
    case kMaxTokens:
    case kMaxCompletionTokens:
    case kMaxOutputTokens:
    case kNPredict:
      return take_limit(value);
    case kParametersMaxTokens:
      if (dialect_ == Dialect::kGenerate) take_limit(value);
      return;
    case kPrompt:
      return take_prompt(value);
    case kPromptId:
      facts_.input_unbounded = true;
      return;
    case kEcho:
      facts_.echoes = !is_null(value) && value.kind != Picked::Kind::kFalse;
      return;
    case kBackground:
      if (!is_null(value) && value.kind != Picked::Kind::kFalse) {
        refuse("background answers are not served here: nothing would count them");
      }
      return;
    case kPreviousResponse:
    case kConversation:
      if (!is_null(value)) facts_.input_unbounded = true;
      return;
    default:
      return;
  }
}

void RequestBody::take_stream_options(const Picked& value) {
  if (!must_ask_for_usage(dialect_)) return;
  if (!is_null(value) && value.kind != Picked::Kind::kObject) return refuse("stream_options must be an object");
  saw_options_ = true;
  options_ = value;
  options_->text = {};
}

/// Once `stream_options` has ended, while it is still held: from here on it asks for usage.
void RequestBody::ask_for_usage() {
  if (!options_) return;
  const Picked value = *options_;
  options_.reset();
  options_name_begin_.reset();
  if (value.kind == Picked::Kind::kNull) {
    if (streaming_ && !stream_) {
      return refuse("stream_options must not be null before stream in a body of this length");
    }
    if (stream_.value_or(false)) edits_.push_back({value.begin, value.end, R"({"include_usage":true})"});
    return;
  }
  auto options = Json::parse(held(value.begin, value.end), {.bytes = kMaxHeldBytes});
  if (!options) return refuse("stream_options is too long, or names a member twice");
  const Json* include = options->find("include_usage");
  if (include != nullptr && !include->is_bool() && !include->is_null()) {
    return refuse("stream_options.include_usage must be true or false");
  }
  facts_.usage_asked = include != nullptr && include->is_bool() && include->as_bool();
  if (facts_.usage_asked || !stream_.value_or(streaming_)) return;
  options->set("include_usage", true);
  // Without include_usage it meant nothing; with ours it would put usage into every event.
  options->erase("continuous_usage_stats");
  edits_.push_back({value.begin, value.end, options->dump()});
}

std::optional<BodyFault> RequestBody::feed(std::string_view in, bool last, std::string& out) {
  if (expected_ != 0 && !in.empty()) {
    if (out.empty()) held_.swap(out);  // send() gives it back, with the body in it
    held_.reserve(std::exchange(expected_, 0) + kEditRoom);
  }
  while (!fault_ && !in.empty()) {
    // Decisions fall at fixed offsets, so that they do not depend on the pieces in which the body comes.
    const std::string_view step = in.substr(0, kStepBytes - facts_.bytes % kStepBytes);
    in.remove_prefix(step.size());
    facts_.bytes += step.size();
    held_ += step;
    if (!pick_.feed(step)) refuse(fault_text());
    if (fault_ || facts_.bytes <= kWholeBytes || facts_.bytes % kStepBytes != 0) continue;
    streaming_ = true;
    ask_for_usage();
    if (!fault_) send_what_is_safe(out);
  }
  if (!fault_ && last) finish(out);
  return fault_;
}

std::string_view RequestBody::fault_text() const {
  const std::string_view why = pick_.fault();
  if (why == "names a member twice") return "the request body names a member twice";
  if (why == "is nested too deeply") return "the request body is nested too deeply";
  if (why == "is not UTF-8") return "the request body is not UTF-8";
  if (why == "has too many members") return "the request body has too many members";
  return "the request body is not JSON";
}

/// Limits are held as long as there is room, so that they can still be lowered.
void RequestBody::send_what_is_safe(std::string& out) {
  std::uint64_t upto = pick_.streamable_end();
  if (options_name_begin_) upto = std::min(upto, *options_name_begin_);
  if (first_limit_begin_ && upto > *first_limit_begin_) {
    const bool room = pick_.offset() - *first_limit_begin_ <= kWholeBytes;
    if (room) upto = *first_limit_begin_;
  }
  if (upto > held_from_) send(upto, out);
  if (held_.size() > 2 * kWholeBytes || (pick_.offset() - pick_.streamable_end() > kMaxHeldBytes)) {
    refuse("the request body has a name or a run of blanks that is too long");
  }
}

void RequestBody::finish(std::string& out) {
  if (!pick_.whole()) return refuse("the request body is not JSON");
  if (!pick_.is_object()) return refuse("the request body must be an object");
  ask_for_usage();
  if (!fault_) settle_facts();
  if (fault_) return;
  judged_ = true;
  const auto verdict = judge_(facts_);
  if (!verdict) {
    fault_ = verdict.error();
    return;
  }
  if (facts_.stream && must_ask_for_usage(dialect_) && !saw_options_) {
    insert_member(R"("stream_options":{"include_usage":true})");
  }
  if (verdict->output_each) lower_limits(*verdict->output_each);
  if (fault_) return;
  if (!inserted_.empty()) edits_.push_back({pick_.settled_end(), pick_.settled_end(), inserted_});
  send(pick_.offset(), out);
}

void RequestBody::settle_facts() {
  facts_.stream = stream_.value_or(false);
  facts_.input_unbounded = facts_.input_unbounded || pick_.saw_anywhere();
  std::int64_t sequences = product(n_.value_or(1), best_of_.value_or(1), kMaxSequences);
  sequences = product(sequences, facts_.prompts, kMaxSequences);
  if (sequences > kMaxSequences) return refuse("the request asks for more than 16384 answers");
  facts_.sequences = sequences;
  bool bounded = false, unlimited = false;
  std::int64_t most = 0;
  for (const Limit& limit : limits_) {
    if (!limit.given) continue;
    bounded = bounded || limit.binds;
    unlimited = unlimited || limit.value < 0;
    most = std::max(most, limit.value);
  }
  if (bounded && !unlimited) facts_.output_each = most;
  if (dialect_ == Dialect::kEmbeddings) facts_.output_each = 0;
}

/// Every limit that is higher, and one where none binds.
void RequestBody::lower_limits(std::int64_t output_each) {
  if (dialect_ == Dialect::kEmbeddings) return;
  const std::string text = std::to_string(output_each);
  const auto write = [&](const Limit& limit) {
    if (limit.begin < held_from_) {
      fault_ = BodyFault{402, "quota_exhausted", "less is left of the token quota than the request asks for"};
    } else {
      edits_.push_back({limit.begin, limit.end, text});
    }
  };
  bool bound = false;
  for (const Limit& limit : limits_) {
    if (!limit.given) continue;
    bound = bound || limit.binds;
    if (limit.value < 0 || limit.value > output_each) write(limit);
  }
  if (bound) return;
  for (const Limit& limit : limits_) {
    if (!limit.given && (limit.binds || limit.is_ours)) return write(limit);
  }
  // What binds nobody by its promise may have the name of what would be added: a second one would be no JSON.
  if (std::ranges::any_of(limits_, &Limit::is_ours)) return;
  insert_member("\"" + std::string(limit_name(dialect_)) + "\":" + text);
}

/// After the last one.
void RequestBody::insert_member(const std::string& member) {
  if (pick_.members() > 0 || !inserted_.empty()) inserted_ += ',';
  inserted_ += member;
}

/// The body up to `upto` as it came, but for the edits in it.
void RequestBody::send(std::uint64_t upto, std::string& out) {
  std::ranges::sort(edits_, {}, &Edit::begin);
  if (out.empty() && upto == held_from_ + held_.size()) {
    for (const Edit& edit : edits_ | std::views::reverse) {
      held_.replace(edit.begin - held_from_, edit.end - edit.begin, edit.text);
    }
    out.swap(held_);
    held_.clear();
  } else {
    send_copy(upto, out);
  }
  edits_.clear();
  held_from_ = upto;
  if (first_limit_begin_ && *first_limit_begin_ < upto) first_limit_begin_.reset();
}

void RequestBody::send_copy(std::uint64_t upto, std::string& out) {
  std::uint64_t at = held_from_;
  for (const Edit& edit : edits_) {
    out += held(at, edit.begin);
    out += edit.text;
    at = edit.end;
  }
  out += held(at, upto);
  held_.erase(0, upto - held_from_);
}

}  // namespace tb::meter
