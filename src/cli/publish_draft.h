// Where `publish` stops: a draft of the marketplace's offer, with everything in it that the steps know and a list of
// what only a person can enter at Partner Center. Nothing is sent anywhere.
#pragma once

#include "base/json.h"
#include "cli/publish_plan.h"
#include "cli/publish_state.h"

namespace tb::cli {

/// `package_sha256` is the zip's.
Json marketplace_draft(const PublishFlags& flags, const PublishPlan& plan, const PublishState& state,
                       const std::string& package_sha256);

}  // namespace tb::cli
