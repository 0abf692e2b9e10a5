// All routes of the control plane: method, path, who may, body limit, handler.
#pragma once

#include "controlplane/deps.h"
#include "http/router.h"

namespace tb::controlplane {

/// `deps` outlives the router.
http::Router make_router(Deps& deps);

}  // namespace tb::controlplane
