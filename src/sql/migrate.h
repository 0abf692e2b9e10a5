// Schemas that only go forward: a list of steps, the database knows how many of them it has taken.
#pragma once

#include <span>
#include <string_view>

#include "sql/connection.h"

namespace tb::sql {

/// Takes the steps that the database has not taken yet, each and its number in one transaction; with several processes
/// at once each step is taken by one of them. Writes nothing where nothing is to be done. Throws "database_newer" if
/// the database has taken more steps than there are.
void migrate(Connection& db, std::span<const std::string_view> steps);

/// The steps number `from` to before `to`, counted from 0, within the caller's transaction.
void take_steps(Connection& db, std::span<const std::string_view> steps, std::int64_t from, std::int64_t to);

}  // namespace tb::sql
