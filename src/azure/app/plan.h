// What a managed application is made of: the one source of mainTemplate.json, createUiDefinition.json and
// viewDefinition.json. Their texts lie under deploy/azure/app, the files of the machine under deploy/azure/vm; a plan
// fills in what is the provider's. Everything in a plan is public: secrets are the consumer's, and come at deployment.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace tb::azure {

struct AppPlan {
  std::string asset_id;
  std::string runtime_image;                    ///< registry/name@sha256:…; with the runtime and its entrypoint
  std::string sentinel_image;                   ///< as runtime_image
  std::string control_plane_url;                ///< https
  std::string control_plane_key;                ///< base64url, 43 characters, pinned by the sentinel; or empty
  std::string contract_id;                      ///< what the consumer is offered; empty: to be entered
  std::string attestation = "none";             ///< "none" or "tpm", what the consumer is offered
  std::vector<std::string> sizes;               ///< names without "Standard_" are completed; the first is offered
  std::vector<std::string> regions;             ///< names as "westeurope"; empty: all
  std::vector<std::string> client_ranges;       ///< CIDR, what the consumer is offered; empty: to be entered
  std::vector<std::string> billing_dimensions;  ///< of docs/metering.md; empty: no billing by the marketplace
  std::string billing_plan_id;                  ///< the plan's id at the marketplace; required with dimensions
};

/// Sizes of virtual machines that a plan may name, smallest first.
std::vector<std::string> known_sizes();
/// Those that are offered where none are named.
std::vector<std::string> default_sizes();

/// The plan with sizes and images completed. Throws "usage" naming the first member that is missing or malformed;
/// nothing of a plan that passes can be an expression, a line break or a word of a shell.
AppPlan checked(AppPlan plan);

/// Files of the package by name, of a plan that is checked().
std::map<std::string, std::string> app_files(const AppPlan& plan);

/// The machine's first settings, `#cloud-config`: its files, and the units to start. `@DEPLOYMENT@` stands where the
/// template puts base64 of deployment.json.
std::string cloud_config();

}  // namespace tb::azure
