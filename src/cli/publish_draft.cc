#include "cli/publish_draft.h"

#include <array>
#include <utility>

namespace tb::cli {
namespace {

Json or_null(const std::string& text) {
  return text.empty() ? Json() : Json(text);
}

/// What Partner Center asks of an offer of type "Azure Application" with a plan "Managed application", by its own
/// words.
constexpr auto kByAPerson = std::to_array<std::pair<std::string_view, std::string_view>>({
    {"Offer setup", "alias, leads, and whether a preview audience sees it first"},
    {"Properties", "categories, and the terms that customers agree to"},
    {"Offer listing", "name, summary, description, contact, logos, privacy policy"},
    {"Preview audience", "the Azure subscriptions that see the offer before it is live"},
    {"Plan overview: pricing and availability", "markets, monthly price, visibility"},
    {"Plan overview: metered dimensions",
     "for each dimension its display name, unit of measure, price and included quantity"},
    {"Plan: technical configuration",
     "version, deployment mode, Azure tenant id and the principals with their roles, "
     "notification endpoint, what customers may do"},
    {"Review and publish", "a person presses Publish, and goes live after the preview"},
});

}  // namespace

Json marketplace_draft(const PublishFlags& flags, const PublishPlan& plan, const PublishState& state,
                       const std::string& package_sha256) {
  const Step* draft = plan.find("draft");
  Json offer = Json::object();
  offer.set("type", "Azure Application");
  offer.set("offer_id", or_null(flags.offer_id));
  Json dimensions = Json::array();
  for (const std::string& id : flags.dimensions) dimensions.push(std::move(Json::object().set("id", id)));
  Json package = Json::object();
  package.set("file", draft->inputs.front().path);
  package.set("sha256", package_sha256);
  Json terms = Json::object();
  terms.set("type", "Managed application");
  terms.set("plan_id", or_null(flags.plan_id));
  terms.set("dimensions", std::move(dimensions));
  terms.set("package", std::move(package));
  Json person = Json::array();
  for (const auto& [page, what] : kByAPerson) {
    Json entry = Json::object();
    entry.set("page", page);
    entry.set("enter", what);
    person.push(std::move(entry));
  }
  Json facts = Json::object();
  facts.set("asset_id", plan.asset_id);
  for (const StepRecord& step : state.steps) {
    Json result = Json::object();
    for (const auto& [name, value] : step.result) result.set(name, value);
    if (step.done && !step.result.empty()) facts.set(step.name, std::move(result));
  }
  Json json = Json::object();
  json.set("status", "draft: nothing was sent, a person enters it at Partner Center");
  json.set("offer", std::move(offer));
  json.set("plan", std::move(terms));
  json.set("entered_by_a_person", std::move(person));
  json.set("published", std::move(facts));
  return json;
}

}  // namespace tb::cli
