// Where the numbers and the text stand in the answers of each dialect. Usage is taken from these places only: what a
// model writes, or nests, is not usage.
#pragma once

#include "meter/dialect.h"
#include "meter/json_pick.h"

namespace tb::meter {

enum AnswerPath {
  kChoices,
  kChoice,
  kChoiceIndex,
  kDeltaContent,
  kDeltaReasoning,
  kDeltaReasoningContent,
  kDeltaRefusal,
  kDeltaToolCalls,
  kChoiceText,
  kFinishReason,
  kMessageContent,
  kMessageReasoning,
  kUsage,
  kUsagePrompt,
  kUsageCompletion,
  kId,
  kObject,
  kCreated,
  kModel,
  // Messages
  kType,
  kStartInput,
  kStartOutput,
  kStartCacheRead,
  kStartCacheCreation,
  kUsageInput,
  kUsageOutput,
  kUsageCacheRead,
  kUsageCacheCreation,
  kBlockIndex,
  kDeltaText,
  kDeltaThinking,
  kDeltaJson,
  kBlockText,
  kBlockThinking,
  // Responses
  kDelta,
  kSequence,
  kResponseInput,
  kResponseOutput,
  kResponseId,
  kResponseModel,
  kResponseCreated,
  kOutputText,
  // llama-server and generate
  kContent,
  kPredicted,
  kEvaluated,
  kStop,
  kItem,
  kItemContent,
  kItemPredicted,
  kItemEvaluated,
  kTextOutput,
};

const JsonPaths& answer_paths(Dialect dialect);

}  // namespace tb::meter
