#include "meter/answer_body.h"

#include <algorithm>

#include "meter/answer_paths.h"

namespace tb::meter {
namespace {

constexpr std::size_t kMaxOpenChoices = 1024;

bool has_text(const Picked& value) {
  return value.kind == Picked::Kind::kString && value.text_bytes > 0;
}

bool equal_fold(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b, [](char x, char y) { return (x | 0x20) == (y | 0x20); });
}

}  // namespace

AnswerForm answer_form(std::string_view content_type) {
  std::string_view type = content_type.substr(0, content_type.find(';'));
  while (type.ends_with(' ') || type.ends_with('\t')) type.remove_suffix(1);
  if (equal_fold(type, "application/json")) return AnswerForm::kJson;
  return equal_fold(type, "text/event-stream") ? AnswerForm::kEvents : AnswerForm::kOther;
}

AnswerBody::AnswerBody(AnswerTerms terms) : terms_(terms), cutter_(*this), pick_(answer_paths(terms.dialect), *this) {}

AnswerBody::~AnswerBody() = default;

void AnswerBody::Count::take(const Picked& picked) {
  std::int64_t number = 0;
  if (picked.kind == Picked::Kind::kNull) return;
  // Said twice, it is no number either: readers differ in which they take.
  if (!picked.is_integer(number) || number < 0 || value) malformed = true;
  value = number;
}

void AnswerBody::feed(std::string_view in, bool last, std::string& out) {
  if (tally_.cut) return;
  bytes_ += in.size();
  if (terms_.form == AnswerForm::kEvents) {
    out_ = &out;
    cutter_.feed(in, last);
    out_ = nullptr;
    return;
  }
  out += in;
  if (terms_.form == AnswerForm::kJson) pick_.feed(in);
  if (!last) return;
  if (terms_.form == AnswerForm::kJson && pick_.whole() && !pick_.failed()) {
    settle();
  } else {
    tally_.unread_bytes = bytes_;
  }
}

void AnswerBody::on_comment(std::string_view bytes) {
  if (!tally_.cut) *out_ += bytes;
}

void AnswerBody::on_overlong(std::string_view bytes, bool end) {
  if (tally_.cut) return;
  *out_ += bytes;
  read_overlong(bytes, end);
}

/// The first `data` line of an event that is too long to be held is read as it passes; nothing is taken out of it.
void AnswerBody::read_overlong(std::string_view bytes, bool end) {
  if (overlong_ == Overlong::kNo) {
    overlong_ = Overlong::kPast;
    std::size_t at = bytes.starts_with("data:") ? 0 : std::min(bytes.find("\ndata:"), bytes.find("\rdata:"));
    if (at != std::string_view::npos) {
      at += at == 0 && bytes.starts_with("data:") ? 5 : 6;
      bytes.remove_prefix(at);
      overlong_ = Overlong::kData;
      pick_.reset();
      found_ = {};
    } else {
      tally_.unread_bytes += bytes.size();
    }
  }
  if (overlong_ == Overlong::kData) {
    const std::size_t line = std::min(bytes.find_first_of("\r\n"), bytes.size());
    pick_.feed(bytes.substr(0, line));
    if (line < bytes.size() || end) {
      overlong_ = Overlong::kPast;
      if (pick_.whole() && !pick_.failed()) {
        close_event();
        settle();
      } else {
        tally_.unread_bytes += pick_.offset();
      }
    }
  }
  if (end) overlong_ = Overlong::kNo;
}

bool AnswerBody::read_event(std::string_view data) {
  pick_.reset();
  found_ = {};
  pick_.feed(data);
  if (!pick_.whole() || pick_.failed()) return false;
  close_event();
  return true;
}

/// Dialects without choices have one piece of text in an event.
void AnswerBody::close_event() {
  if (terms_.dialect == Dialect::kResponses && terms_.form == AnswerForm::kEvents &&
      !found_.type.ends_with("text.delta")) {
    found_.other = found_.text && found_.type.ends_with(".delta");
    found_.text = false;
  }
  end_item();
}

bool AnswerBody::is_over() const {
  return terms_.cut_after && tally_.certain + found_.certain > *terms_.cut_after;
}

void AnswerBody::on_event(std::string_view bytes) {
  if (tally_.cut) return;
  std::size_t single = 0;
  const std::string_view data = event_data(bytes, joined_, single);
  if (data.empty() || data == "[DONE]") {
    *out_ += bytes;
    return;
  }
  if (!read_event(data)) {
    tally_.unread_bytes += bytes.size();
    *out_ += bytes;
    return;
  }
  if (is_over()) return end_stream();
  settle();
  const bool hides = !terms_.usage_asked && found_.usage_here && must_ask_for_usage(terms_.dialect);
  if (!hides) {
    *out_ += bytes;
  } else if (!found_.usage_is_object || found_.choices.value_or(1) > 0) {
    pass_without_usage(bytes, data, single);
  }
}

/// The event less its `usage` and one comma beside it. Of data in several lines the offsets are not known: it passes.
void AnswerBody::pass_without_usage(std::string_view bytes, std::string_view data, std::size_t single) {
  if (single == std::string_view::npos) {
    *out_ += bytes;
    return;
  }
  std::size_t begin = found_.usage_begin, end = found_.usage_end;
  const std::size_t before = data.find_last_not_of(" \t", begin == 0 ? 0 : begin - 1);
  const std::size_t after = data.find_first_not_of(" \t", end);
  if (before != std::string_view::npos && data[before] == ',') {
    begin = before;
  } else if (after != std::string_view::npos && data[after] == ',') {
    end = after + 1;
  }
  *out_ += bytes.substr(0, single + begin);
  *out_ += bytes.substr(single + end);
}

void AnswerBody::end_stream() {
  tally_.cut = true;
  const std::int64_t output = std::max(tally_.certain, tally_.output.value_or(0));
  *out_ +=
      last_events(terms_.dialect, stream_, terms_.usage_asked, tally_.input.value_or(terms_.input_estimate), output);
}

void AnswerBody::on_value(const Picked& value) {
  switch (terms_.dialect) {
    case Dialect::kMessages:
      return take_messages(value);
    case Dialect::kResponses:
      return take_responses(value);
    case Dialect::kLlama:
    case Dialect::kGenerate:
      return take_llama(value);
    default:
      return take_openai(value);
  }
}

void AnswerBody::note_text(const Picked& value) {
  if (!has_text(value)) return;
  found_.text = true;
  if (terms_.form == AnswerForm::kJson) tally_.text_bytes += value.text_bytes;
}

void AnswerBody::note_other(const Picked& value) {
  if (has_text(value) || value.items > 0) found_.other = true;
}

/// One choice, or one event of a dialect that has none.
void AnswerBody::end_item() {
  if (terms_.form == AnswerForm::kEvents) {
    if (found_.text && !terms_.echoes) ++found_.certain;
    if (found_.text || found_.other) ++found_.seen;
  }
  found_.text = found_.other = false;
}

void AnswerBody::take_openai(const Picked& value) {
  std::int64_t number = 0;
  switch (value.path) {
    case kChoices:
      if (value.kind == Picked::Kind::kArray) found_.choices = value.items;
      return;
    case kChoice: {
      end_item();
      const std::int64_t index = found_.index.value_or(0);
      std::erase(stream_.open, index);
      if (!found_.finished && stream_.open.size() < kMaxOpenChoices) stream_.open.push_back(index);
      found_.finished = false;
      found_.index.reset();
      return;
    }
    case kChoiceIndex:
      if (value.is_integer(number)) found_.index = number;
      return;
    case kDeltaContent:
    case kDeltaReasoning:
    case kDeltaReasoningContent:
    case kChoiceText:
    case kMessageContent:
    case kMessageReasoning:
      return note_text(value);
    case kDeltaRefusal:
    case kDeltaToolCalls:
      return note_other(value);
    case kFinishReason:
      found_.finished = value.kind == Picked::Kind::kString;
      return;
    case kUsage:
      found_.usage_here = true;
      found_.usage_is_object = value.kind == Picked::Kind::kObject;
      found_.usage_begin = value.name_begin;
      found_.usage_end = value.end;
      return;
    case kUsagePrompt:
      return found_.input.take(value);
    case kUsageCompletion:
      return found_.output.take(value);
    case kId:
      if (value.kind == Picked::Kind::kString) stream_.id = value.text;
      return;
    case kObject:
      if (value.kind == Picked::Kind::kString) stream_.object = value.text;
      return;
    case kModel:
      if (value.kind == Picked::Kind::kString) stream_.model = value.text;
      return;
    case kCreated:
      if (value.is_integer(number)) stream_.created = value.text;
      return;
    default:
      return;
  }
}

void AnswerBody::take_messages(const Picked& value) {
  std::int64_t number = 0;
  switch (value.path) {
    case kType:
      found_.type = value.text;
      return;
    case kStartInput:
    case kUsageInput:
      return found_.input.take(value);
    case kStartOutput:
    case kUsageOutput:
      return found_.output.take(value);
    case kStartCacheRead:
    case kUsageCacheRead:
      return found_.cache_read.take(value);
    case kStartCacheCreation:
    case kUsageCacheCreation:
      return found_.cache_creation.take(value);
    case kBlockIndex:
      if (value.is_integer(number)) found_.index = number;
      return;
    case kDeltaText:
    case kDeltaThinking:
    case kBlockText:
    case kBlockThinking:
      return note_text(value);
    case kDeltaJson:
      return note_other(value);
    default:
      return;
  }
}

void AnswerBody::take_responses(const Picked& value) {
  std::int64_t number = 0;
  switch (value.path) {
    case kType:
      found_.type = value.text;
      return;
    case kDelta:
    case kOutputText:
      return note_text(value);
    case kSequence:
      if (value.is_integer(number)) found_.sequence = number;
      return;
    case kResponseInput:
    case kUsageInput:
      return found_.input.take(value);
    case kResponseOutput:
    case kUsageOutput:
      return found_.output.take(value);
    case kResponseId:
      stream_.id = value.text;
      return;
    case kResponseModel:
      stream_.model = value.text;
      return;
    case kResponseCreated:
      if (value.is_integer(number)) stream_.created = value.text;
      return;
    default:
      return;
  }
}

void AnswerBody::take_llama(const Picked& value) {
  switch (value.path) {
    case kContent:
    case kItemContent:
    case kTextOutput:
      return note_text(value);
    case kPredicted:
    case kItemPredicted:
      return found_.output.take(value);
    case kEvaluated:
    case kItemEvaluated:
      return found_.input.take(value);
    case kStop:
      found_.stop = value.kind == Picked::Kind::kTrue;
      return;
    case kItem:
      found_.stop = true;
      settle_llama();
      found_ = {};
      return;
    default:
      return;
  }
}

void AnswerBody::take_usage(const Count& input, const Count& output, bool whole) {
  const bool malformed = input.malformed || output.malformed || (whole && (!input.value || !output.value));
  tally_.usage_malformed = malformed;
  if (input.value && !input.malformed) tally_.input = input.value;
  if (output.value && !output.malformed) tally_.output = output.value;
  tally_.usage_latest = !malformed;
}

void AnswerBody::settle() {
  tally_.certain += found_.certain;
  tally_.seen += found_.seen;
  if (found_.seen > 0) tally_.usage_latest = false;
  switch (terms_.dialect) {
    case Dialect::kMessages:
      return settle_messages();
    case Dialect::kResponses:
      return settle_responses();
    case Dialect::kLlama:
    case Dialect::kGenerate:
      return settle_llama();
    default:
      return settle_openai();
  }
}

void AnswerBody::settle_openai() {
  if (!found_.usage_here || (!found_.usage_is_object && !found_.input.value && !found_.output.value)) {
    // Null says nothing; anything else that is no object is no usage.
    return;
  }
  Count output = found_.output;
  if (terms_.dialect == Dialect::kEmbeddings && !output.value) output.value = 0;
  take_usage(found_.input, output, true);
}

void AnswerBody::settle_messages() {
  if (found_.type == "content_block_start") stream_.block = found_.index.value_or(0);
  if (found_.type == "content_block_stop") stream_.block = -1;
  if (!found_.input.value && !found_.output.value) return;
  // What was read from the cache, or written to it, is input that input_tokens leaves out.
  Count input = found_.input;
  for (const Count& part : {found_.cache_read, found_.cache_creation}) {
    input.malformed = input.malformed || part.malformed;
    if (input.value) *input.value += part.value.value_or(0);
  }
  take_usage(input, found_.output, terms_.form == AnswerForm::kJson);
}

void AnswerBody::settle_responses() {
  if (found_.sequence) stream_.sequence = *found_.sequence;
  if (found_.input.value || found_.output.value) take_usage(found_.input, found_.output, true);
}

/// The numbers of one sequence come with its end; those of several are added up.
void AnswerBody::settle_llama() {
  if (!found_.stop || (!found_.input.value && !found_.output.value)) return;
  Count input = found_.input, output = found_.output;
  if (input.value) *input.value += tally_.input.value_or(0);
  if (output.value) *output.value += tally_.output.value_or(0);
  take_usage(input, output, true);
}

}  // namespace tb::meter
