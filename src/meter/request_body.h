// The body of an inference request as it passes: what it may cost is read from it, usage is asked for where the client
// did not ask, and limits are lowered to what a budget leaves.
//
// A body of up to kWholeBytes is held until it is whole, then judged, changed where it must be, and sent on. A longer
// one streams; its last brace is held back until it has been judged, so that a refused one never becomes a whole
// request at the runtime. What needs no change passes byte for byte.
#pragma once

#include <algorithm>
#include <cstdint>
#include <expected>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "meter/dialect.h"
#include "meter/json_pick.h"

namespace tb::meter {

/// What the request asks for.
struct RequestFacts {
  std::string model;  ///< as written, at most JsonPick::kKeptBytes of it
  bool stream = false;
  bool usage_asked = false;    ///< the client itself wants the usage of a stream
  std::int64_t sequences = 1;  ///< n × best_of × prompts
  std::int64_t prompts = 1;
  std::optional<std::int64_t> output_each;  ///< most tokens of one sequence; nothing: up to the context
  bool echoes = false;                      ///< the answer repeats the prompt
  bool input_unbounded = false;  ///< images and the like, or an earlier conversation: bytes say nothing of its tokens
  std::uint64_t bytes = 0;       ///< of the whole body
};

/// What was decided of it.
struct RequestVerdict {
  std::optional<std::int64_t> output_each;  ///< at most so many tokens of each sequence
};

class RequestBody {
 public:
  static constexpr std::size_t kWholeBytes = 64 * 1024;
  static constexpr std::size_t kStepBytes = 4096;
  static constexpr std::size_t kMaxHeldBytes = 4096;  ///< of blanks or stream_options while a longer body streams
  static constexpr std::int64_t kMaxSequences = 16384;

  using Judge = std::function<std::expected<RequestVerdict, BodyFault>(const RequestFacts&)>;

  RequestBody(Dialect dialect, Judge judge);
  RequestBody(const RequestBody&) = delete;
  RequestBody& operator=(const RequestBody&) = delete;

  /// So many bytes are announced: room for them is taken with the first.
  void expect(std::uint64_t bytes) { expected_ = std::min<std::uint64_t>(bytes, kWholeBytes); }
  /// Uses up `in`, appends to `out` what goes on. `last`: nothing comes after it.
  std::optional<BodyFault> feed(std::string_view in, bool last, std::string& out);
  const RequestFacts& facts() const { return facts_; }
  bool judged() const { return judged_; }

 private:
  struct Edit {
    std::uint64_t begin, end;  ///< offsets in the body
    std::string text;
  };
  class Reader final : public JsonPick::Taker {
   public:
    explicit Reader(RequestBody& body) : body_(body) {}
    void on_value(const Picked& value) override { body_.take(value); }
    void on_name(int path, std::uint64_t begin, std::uint64_t end) override { body_.take_name(path, begin, end); }

   private:
    RequestBody& body_;
  };

  void take(const Picked& value);
  void take_name(int path, std::uint64_t begin, std::uint64_t end);
  void refuse(std::string_view message);
  void take_count(const Picked& value, std::int64_t most, std::optional<std::int64_t>& into);
  void take_limit(const Picked& value);
  void take_prompt(const Picked& value);
  void take_stream_options(const Picked& value);
  void ask_for_usage();
  void send_what_is_safe(std::string& out);
  void finish(std::string& out);
  void settle_facts();
  void lower_limits(std::int64_t output_each);
  void insert_member(const std::string& member);
  void send(std::uint64_t upto, std::string& out);
  void send_copy(std::uint64_t upto, std::string& out);
  std::string_view held(std::uint64_t begin, std::uint64_t end) const;
  std::string_view fault_text() const;

  /// A member that limits what is generated.
  struct Limit {
    std::int64_t value = 0;
    std::uint64_t begin = 0, end = 0;
    bool given = false;    ///< false: null
    bool binds = false;    ///< every runtime of the dialect keeps it
    bool is_ours = false;  ///< has the name that a limit of ours would have
  };
  static constexpr std::size_t kMaxLimits = 8;

  Dialect dialect_;
  Judge judge_;
  RequestFacts facts_;
  Reader reader_;
  JsonPick pick_;
  std::uint64_t expected_ = 0;
  std::string held_;
  std::uint64_t held_from_ = 0;  ///< offset of held_[0] in the body
  bool streaming_ = false, judged_ = false;
  std::optional<BodyFault> fault_;
  std::vector<Edit> edits_;
  std::vector<Limit> limits_;
  std::optional<std::int64_t> n_, best_of_;
  std::optional<bool> stream_;
  std::optional<Picked> options_;  ///< stream_options that has ended and is still held
  std::optional<std::uint64_t> options_name_begin_, first_limit_begin_;
  bool saw_options_ = false;
  std::string inserted_;  ///< members to come after the last one
};

}  // namespace tb::meter
