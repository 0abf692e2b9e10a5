#include "meter/answer_paths.h"

namespace tb::meter {
namespace {

struct Row {
  AnswerPath number;
  std::string_view path;
};

constexpr Row kOpenAi[] = {{kChoices, "choices"},
                           {kChoice, "choices[]"},
                           {kChoiceIndex, "choices[].index"},
                           {kDeltaContent, "choices[].delta.content"},
                           {kDeltaReasoning, "choices[].delta.reasoning"},
                           {kDeltaReasoningContent, "choices[].delta.reasoning_content"},
                           {kDeltaRefusal, "choices[].delta.refusal"},
                           {kDeltaToolCalls, "choices[].delta.tool_calls"},
                           {kChoiceText, "choices[].text"},
                           {kFinishReason, "choices[].finish_reason"},
                           {kMessageContent, "choices[].message.content"},
                           {kMessageReasoning, "choices[].message.reasoning_content"},
                           {kUsage, "usage"},
                           {kUsagePrompt, "usage.prompt_tokens"},
                           {kUsageCompletion, "usage.completion_tokens"},
                           {kId, "id"},
                           {kObject, "object"},
                           {kCreated, "created"},
                           {kModel, "model"}};

constexpr Row kMessagesRows[] = {{kType, "type"},
                                 {kStartInput, "message.usage.input_tokens"},
                                 {kStartOutput, "message.usage.output_tokens"},
                                 {kStartCacheRead, "message.usage.cache_read_input_tokens"},
                                 {kStartCacheCreation, "message.usage.cache_creation_input_tokens"},
                                 {kUsageInput, "usage.input_tokens"},
                                 {kUsageOutput, "usage.output_tokens"},
                                 {kUsageCacheRead, "usage.cache_read_input_tokens"},
                                 {kUsageCacheCreation, "usage.cache_creation_input_tokens"},
                                 {kBlockIndex, "index"},
                                 {kDeltaText, "delta.text"},
                                 {kDeltaThinking, "delta.thinking"},
                                 {kDeltaJson, "delta.partial_json"},
                                 {kBlockText, "content[].text"},
                                 {kBlockThinking, "content[].thinking"}};

constexpr Row kResponsesRows[] = {{kType, "type"},
                                  {kDelta, "delta"},
                                  {kSequence, "sequence_number"},
                                  {kResponseInput, "response.usage.input_tokens"},
                                  {kResponseOutput, "response.usage.output_tokens"},
                                  {kResponseId, "response.id"},
                                  {kResponseModel, "response.model"},
                                  {kResponseCreated, "response.created_at"},
                                  {kUsageInput, "usage.input_tokens"},
                                  {kUsageOutput, "usage.output_tokens"},
                                  {kOutputText, "output[].content[].text"}};

// Several prompts are answered by an array.
constexpr Row kLlamaRows[] = {{kContent, "content"},
                              {kPredicted, "tokens_predicted"},
                              {kEvaluated, "tokens_evaluated"},
                              {kStop, "stop"},
                              {kItem, "[]"},
                              {kItemContent, "[].content"},
                              {kItemPredicted, "[].tokens_predicted"},
                              {kItemEvaluated, "[].tokens_evaluated"}};

constexpr Row kGenerateRows[] = {{kTextOutput, "text_output"}};

template <std::size_t N>
JsonPaths paths_of(const Row (&rows)[N]) {
  std::vector<std::string_view> paths;
  std::vector<int> numbers;
  for (const Row& row : rows) {
    paths.push_back(row.path);
    numbers.push_back(row.number);
  }
  return JsonPaths(paths, {}, numbers);
}

}  // namespace

const JsonPaths& answer_paths(Dialect dialect) {
  static const JsonPaths kOfOpenAi = paths_of(kOpenAi), kOfMessages = paths_of(kMessagesRows),
                         kOfResponses = paths_of(kResponsesRows), kOfLlama = paths_of(kLlamaRows),
                         kOfGenerate = paths_of(kGenerateRows);
  switch (dialect) {
    case Dialect::kMessages:
      return kOfMessages;
    case Dialect::kResponses:
      return kOfResponses;
    case Dialect::kLlama:
      return kOfLlama;
    case Dialect::kGenerate:
      return kOfGenerate;
    default:
      return kOfOpenAi;
  }
}

}  // namespace tb::meter
