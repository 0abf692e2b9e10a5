// The last words of a stream that is ended at a budget's end: what the runtime itself would have said at its limit.
#include <fmt/format.h>

#include <string>

#include "base/json.h"
#include "meter/answer_body.h"

namespace tb::meter {
namespace {

std::string data(const Json& json) {
  return "data: " + json.dump() + "\n\n";
}

std::string named(std::string_view event, const Json& json) {
  return fmt::format("event: {}\ndata: {}\n\n", event, json.dump());
}

Json chunk(const AnswerBody::Stream& stream, Json choices) {
  Json json = Json::object();
  json.set("id", stream.id);
  json.set("object", stream.object);
  if (!stream.created.empty()) json.set("created", Json::number_from_text(stream.created));
  json.set("model", stream.model);
  json.set("choices", std::move(choices));
  return json;
}

std::string end_openai(Dialect dialect, const AnswerBody::Stream& stream, bool usage_asked, std::int64_t input,
                       std::int64_t output) {
  Json choices = Json::array();
  for (const std::int64_t index : stream.open) {
    Json choice = Json::object();
    choice.set("index", index);
    if (dialect == Dialect::kChat) {
      choice.set("delta", Json::object());
    } else {
      choice.set("text", "");
    }
    choice.set("logprobs", nullptr);
    choice.set("finish_reason", "length");
    choices.push(std::move(choice));
  }
  std::string out = data(chunk(stream, std::move(choices)));
  if (usage_asked) {
    Json usage = Json::object();
    usage.set("prompt_tokens", input);
    usage.set("completion_tokens", output);
    usage.set("total_tokens", input + output);
    Json last = chunk(stream, Json::array());
    last.set("usage", std::move(usage));
    out += data(last);
  }
  return out + "data: [DONE]\n\n";
}

std::string end_messages(const AnswerBody::Stream& stream, std::int64_t output) {
  std::string out;
  if (stream.block >= 0) {
    Json stop = Json::object();
    stop.set("type", "content_block_stop");
    stop.set("index", stream.block);
    out += named("content_block_stop", stop);
  }
  Json delta = Json::object();
  delta.set("stop_reason", "max_tokens");
  delta.set("stop_sequence", nullptr);
  Json usage = Json::object();
  usage.set("output_tokens", output);
  Json message = Json::object();
  message.set("type", "message_delta");
  message.set("delta", std::move(delta));
  message.set("usage", std::move(usage));
  Json end = Json::object();
  end.set("type", "message_stop");
  return out + named("message_delta", message) + named("message_stop", end);
}

std::string end_responses(const AnswerBody::Stream& stream, std::int64_t input, std::int64_t output) {
  Json usage = Json::object();
  usage.set("input_tokens", input);
  usage.set("output_tokens", output);
  usage.set("total_tokens", input + output);
  Json why = Json::object();
  why.set("reason", "max_output_tokens");
  Json response = Json::object();
  response.set("id", stream.id);
  response.set("object", "response");
  if (!stream.created.empty()) response.set("created_at", Json::number_from_text(stream.created));
  response.set("status", "incomplete");
  response.set("incomplete_details", std::move(why));
  response.set("model", stream.model);
  response.set("output", Json::array());
  response.set("usage", std::move(usage));
  Json event = Json::object();
  event.set("type", "response.incomplete");
  event.set("sequence_number", stream.sequence + 1);
  event.set("response", std::move(response));
  return named("response.incomplete", event);
}

std::string end_llama(std::int64_t input, std::int64_t output) {
  Json json = Json::object();
  json.set("index", 0);
  json.set("content", "");
  json.set("stop", true);
  json.set("stop_type", "limit");
  json.set("tokens_predicted", output);
  json.set("tokens_evaluated", input);
  return data(json);
}

}  // namespace

std::string last_events(Dialect dialect, const AnswerBody::Stream& stream, bool usage_asked, std::int64_t input_tokens,
                        std::int64_t output_tokens) {
  switch (dialect) {
    case Dialect::kMessages:
      return end_messages(stream, output_tokens);
    case Dialect::kResponses:
      return end_responses(stream, input_tokens, output_tokens);
    case Dialect::kLlama:
      return end_llama(input_tokens, output_tokens);
    case Dialect::kGenerate:
      return {};
    default:
      return end_openai(dialect, stream, usage_asked, input_tokens, output_tokens);
  }
}

}  // namespace tb::meter
