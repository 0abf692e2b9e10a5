// The body of an inference answer as it passes: the runtime's own numbers are found, what certainly was generated is
// counted beside them, usage that the client did not ask for is taken out, and a stream is ended where a budget ends.
//
// Everything else passes byte for byte, each event as it came. What is held is one event.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "meter/dialect.h"
#include "meter/json_pick.h"
#include "meter/sse.h"

namespace tb::meter {

/// How a body is read, by its Content-Type.
enum class AnswerForm { kJson, kEvents, kOther };
AnswerForm answer_form(std::string_view content_type);

/// What is known of the answer before it comes.
struct AnswerTerms {
  Dialect dialect = Dialect::kChat;
  AnswerForm form = AnswerForm::kJson;
  bool usage_asked = true;                ///< false: usage in a stream is not for the client
  bool echoes = false;                    ///< content may repeat the prompt: chunks prove nothing
  std::int64_t input_estimate = 0;        ///< for the last words of a stream that is cut
  std::optional<std::int64_t> cut_after;  ///< tokens of all sequences together
};

/// What an answer was found to hold.
struct AnswerTally {
  std::optional<std::int64_t> input, output;  ///< the runtime's, the latest it said
  bool usage_malformed = false;               ///< it said something that is no count
  bool usage_latest = false;                  ///< no content came after it
  std::int64_t certain = 0;                   ///< pieces of text that came one by one: each is a token at least
  std::int64_t seen = 0;                      ///< the same, with what may share a token
  std::uint64_t text_bytes = 0;               ///< of the text in an answer that is no stream
  std::uint64_t unread_bytes = 0;
  bool cut = false;  ///< the stream was ended here
};

class AnswerBody final : private SseCutter::Taker, private JsonPick::Taker {
 public:
  explicit AnswerBody(AnswerTerms terms);
  ~AnswerBody() override;
  AnswerBody(const AnswerBody&) = delete;
  AnswerBody& operator=(const AnswerBody&) = delete;

  void feed(std::string_view in, bool last, std::string& out);
  /// The stream was ended by what feed() has given last.
  bool ended() const { return tally_.cut; }
  const AnswerTally& tally() const { return tally_; }

 private:
  struct Count {
    std::optional<std::int64_t> value;
    bool malformed = false;
    void take(const Picked& picked);
  };
  /// What one event, or one JSON answer, says.
  struct Found {
    Count input, output, cache_read, cache_creation;
    std::string type;
    std::optional<std::int64_t> sequence, index;
    std::uint64_t usage_begin = 0, usage_end = 0;  ///< of the member in the text
    bool usage_here = false, usage_is_object = false;
    std::optional<std::uint64_t> choices;
    std::int64_t certain = 0, seen = 0;
    bool text = false, other = false, finished = false;  ///< of the item under way
    bool stop = false;
  };

  void on_event(std::string_view bytes) override;
  void on_comment(std::string_view bytes) override;
  void on_overlong(std::string_view bytes, bool end) override;
  void on_value(const Picked& value) override;
  void take_openai(const Picked& value);
  void take_messages(const Picked& value);
  void take_responses(const Picked& value);
  void take_llama(const Picked& value);
  void note_text(const Picked& value);
  void note_other(const Picked& value);
  void end_item();
  void settle();
  void settle_openai();
  void settle_messages();
  void settle_responses();
  void settle_llama();
  void take_usage(const Count& input, const Count& output, bool whole);
  bool read_event(std::string_view data);
  void close_event();
  void read_overlong(std::string_view bytes, bool end);
  void pass_without_usage(std::string_view bytes, std::string_view data, std::size_t single);
  bool is_over() const;
  void end_stream();

  AnswerTerms terms_;
  AnswerTally tally_;
  SseCutter cutter_;
  JsonPick pick_;
  Found found_;
  std::string joined_;
  std::string* out_ = nullptr;
  std::uint64_t bytes_ = 0;
  enum class Overlong { kNo, kData, kPast } overlong_ = Overlong::kNo;

 public:
  /// What the last words of a stream repeat of it.
  struct Stream {
    std::string id, object, model, created;  ///< `created` a number as it stood
    std::int64_t sequence = 0;               ///< of the last event that had a number
    std::int64_t block = -1;                 ///< content block under way
    std::vector<std::int64_t> open;          ///< choices that have not finished
    std::int64_t choices = 0;
  };

 private:
  Stream stream_;
};

/// The events that end a stream before the runtime does, as the dialect's clients expect them when a limit of tokens is
/// reached.
std::string last_events(Dialect dialect, const AnswerBody::Stream& stream, bool usage_asked, std::int64_t input_tokens,
                        std::int64_t output_tokens);

}  // namespace tb::meter
