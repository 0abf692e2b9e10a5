// SQLSTATEs into the project's errors, libpq's handles into owners, values into its binary form.
#include "sql/postgres.h"

#include <fmt/format.h>
#include <libpq-fe.h>

#include <array>
#include <map>
#include <utility>

#include "base/error.h"
#include "sql/parameters.h"

namespace tb::sql {
namespace {

/// Taken by every write transaction, so that they follow one another as SQLite's do. Advisory locks belong to one
/// database; the number only has to differ from what others lock there. ASCII "tbwriter".
constexpr std::int64_t kWriterLock = 0x7462777269746572;

// pg_type.dat: the types that the door knows.
constexpr Oid kInt8 = 20;
constexpr Oid kText = 25;
constexpr Oid kBytea = 17;

struct FreeOptions {
  void operator()(PQconninfoOption* options) const {
    for (auto* option = options; option->keyword != nullptr; ++option) {
      if (option->val != nullptr) wipe(option->val, std::strlen(option->val));
    }
    PQconninfoFree(options);
  }
};
using Options = std::unique_ptr<PQconninfoOption, FreeOptions>;

struct Clear {
  void operator()(PGresult* result) const { PQclear(result); }
};
using Result = std::unique_ptr<PGresult, Clear>;

struct Finish {
  void operator()(PGconn* conn) const { PQfinish(conn); }
};

/// libpq's words about a URL that it cannot read may quote it, so they are not passed on.
Options parsed(const SecretString& url) {
  const std::string_view text = url.reveal();
  Options options;
  if (text.starts_with("postgres://") || text.starts_with("postgresql://")) {
    char* words = nullptr;
    options.reset(PQconninfoParse(url.reveal().c_str(), &words));
    if (words != nullptr) PQfreemem(words);
  }
  if (!options) {
    throw Error("config_invalid", "the database is not a URL as postgresql://user@host:5432/database");
  }
  return options;
}

std::string_view option(const Options& options, std::string_view keyword) {
  for (const auto* at = options.get(); at->keyword != nullptr; ++at) {
    if (keyword == at->keyword) return at->val == nullptr ? "" : at->val;
  }
  return {};
}

bool is_this_machine(std::string_view host) {
  return host.starts_with('/') || host == "localhost" || host == "127.0.0.1" || host == "::1";
}

std::string_view reason_of(std::string_view state) {
  // Appendix A of PostgreSQL's manual.
  if (state.empty() || state.starts_with("08") || state.starts_with("57P") || state == "53300" || state == "25006") {
    return "database_unavailable";
  }
  if (state == "40001" || state == "40P01") return "database_conflict";
  if (state == "55P03" || state == "57014" || state == "25P03") return "database_busy";
  if (state == "53100") return "disk_full";
  if (state == "53200") return "out_of_memory";
  if (state == "22021") return "field_invalid";
  if (state == "42501") return "permission_denied";
  return "database_failed";
}

/// One line of what libpq says.
std::string words_of(const char* message) {
  std::string words(message == nullptr ? "" : message);
  while (!words.empty() && words.back() == '\n') words.pop_back();
  for (char& c : words) {
    if (c == '\n' || c == '\t') c = ' ';
  }
  return words;
}

struct Session {
  std::unique_ptr<PGconn, Finish> conn;
  bool lost = false;  ///< the server ended it, or may not be written to any more

  /// Throws unless `result` is what a statement gives that went well.
  void check(const Result& result, std::string_view what) {
    const ExecStatusType status = PQresultStatus(result.get());
    if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK) return;
    const char* state = PQresultErrorField(result.get(), PG_DIAG_SQLSTATE);
    const char* primary = PQresultErrorField(result.get(), PG_DIAG_MESSAGE_PRIMARY);
    const bool broken = PQstatus(conn.get()) != CONNECTION_OK;
    const std::string_view reason = broken ? "database_unavailable" : reason_of(state == nullptr ? "" : state);
    if (reason == "database_unavailable") lost = true;
    // The primary message only: the detail quotes rows.
    throw Error(reason, fmt::format("postgresql cannot {}: {}", what,
                                    words_of(primary != nullptr ? primary : PQerrorMessage(conn.get()))));
  }
};

struct Parameter {
  Oid type = 0;
  bool null = false;
  std::string bytes;
};

class PostgresStatement final : public RawStatement {
 public:
  using Names = std::map<std::string, std::string, std::less<>>;

  PostgresStatement(Session& session, Names& names, std::string sql)
      : session_(session), names_(names), sql_(std::move(sql)) {}

  void bind_integer(std::int64_t value) override {
    std::string bytes(8, '\0');
    for (int i = 0; i < 8; ++i) bytes[static_cast<std::size_t>(i)] = static_cast<char>(value >> (56 - 8 * i));
    parameters_.push_back({.type = kInt8, .bytes = std::move(bytes)});
  }
  void bind_text(std::string_view value) override {
    parameters_.push_back({.type = kText, .bytes = std::string(value)});
  }
  void bind_blob(ByteView value) override {
    parameters_.push_back({.type = kBytea, .bytes = std::string(as_text(value))});
  }
  void bind_null(Type type) override {
    constexpr std::array<Oid, 4> kTypes = {kInt8, kText, kBytea, 0};
    parameters_.push_back({.type = kTypes[static_cast<std::size_t>(type)], .null = true, .bytes = {}});
  }

  bool step() override {
    if (!result_) send();
    return ++row_ < PQntuples(result_.get());
  }
  std::int64_t changes() const override {
    const std::string_view count = PQcmdTuples(result_.get());
    return count.empty() ? 0 : std::stoll(std::string(count));
  }

  std::int64_t integer(int column) const override {
    // Widths from a truth value to int8, all in network order.
    const Bytes bytes = blob(column);
    if (bytes.empty()) return 0;
    std::uint64_t value = bytes[0] >= 0x80 ? ~std::uint64_t{0} : 0;
    for (const std::uint8_t byte : bytes) value = value << 8 | byte;
    return static_cast<std::int64_t>(value);
  }
  std::string text(int column) const override { return std::string(as_text(view(column))); }
  Bytes blob(int column) const override {
    const ByteView bytes = view(column);
    return {bytes.begin(), bytes.end()};
  }
  bool is_null(int column) const override { return PQgetisnull(result_.get(), row_, column) != 0; }

 private:
  ByteView view(int column) const {
    return {reinterpret_cast<const std::uint8_t*>(PQgetvalue(result_.get(), row_, column)),
            static_cast<std::size_t>(PQgetlength(result_.get(), row_, column))};
  }

  /// The server plans a statement for the types of its parameters: these belong to its name.
  const std::string& prepared(const std::vector<Oid>& types) {
    std::string key = sql_;
    for (const Oid type : types) key += fmt::format("\n{}", type);
    if (const auto found = names_.find(key); found != names_.end()) return found->second;
    std::string name = fmt::format("tb{}", names_.size());
    const Result result(PQprepare(session_.conn.get(), name.c_str(), with_dollar_parameters(sql_).c_str(),
                                  static_cast<int>(types.size()), types.data()));
    session_.check(result, "prepare a statement");
    return names_.emplace(std::move(key), std::move(name)).first->second;
  }

  void send() {
    std::vector<Oid> types;
    std::vector<const char*> values;
    std::vector<int> lengths;
    for (const auto& parameter : parameters_) {
      types.push_back(parameter.type);
      values.push_back(parameter.null ? nullptr : parameter.bytes.data());
      lengths.push_back(static_cast<int>(parameter.bytes.size()));
    }
    const std::vector<int> binary(parameters_.size(), 1);
    const std::string& name = prepared(types);
    result_.reset(PQexecPrepared(session_.conn.get(), name.c_str(), static_cast<int>(values.size()), values.data(),
                                 lengths.data(), binary.data(), 1));
    session_.check(result_, "run a statement");
  }

  Session& session_;
  Names& names_;
  std::string sql_;
  std::vector<Parameter> parameters_;
  Result result_;
  int row_ = -1;
};

class PostgresConnection final : public Connection {
 public:
  explicit PostgresConnection(const SecretString& url) {
    const Options options = parsed(url);
    const std::string_view host = option(options, "host");
    const std::string_view address = option(options, "hostaddr");
    const bool here = is_this_machine(address.empty() ? host : address);
    // What stands before the URL is a default of ours, what stands after it holds always.
    const std::array<std::pair<const char*, const char*>, 11> words = {{{"connect_timeout", "5"},
                                                                        {"tcp_user_timeout", "10000"},
                                                                        {"keepalives_idle", "10"},
                                                                        {"keepalives_interval", "5"},
                                                                        {"keepalives_count", "3"},
                                                                        {"application_name", "trustbridge"},
                                                                        {"target_session_attrs", "read-write"},
                                                                        {"sslmode", here ? "prefer" : "verify-full"},
                                                                        {"dbname", url.reveal().c_str()},
                                                                        {"client_encoding", "UTF8"},
                                                                        {nullptr, nullptr}}};
    std::array<const char*, words.size()> keywords{};
    std::array<const char*, words.size()> values{};
    for (std::size_t i = 0; i < words.size(); ++i) std::tie(keywords[i], values[i]) = words[i];
    session_.conn.reset(PQconnectdbParams(keywords.data(), values.data(), 1));
    if (PQstatus(session_.conn.get()) != CONNECTION_OK) {
      throw Error("database_unavailable",
                  fmt::format("postgresql cannot be reached: {}", words_of(PQerrorMessage(session_.conn.get()))));
    }
    PQsetNoticeProcessor(session_.conn.get(), [](void*, const char*) {}, nullptr);
    if (PQserverVersion(session_.conn.get()) < 150000) {
      throw Error("database_failed", "the server is older than PostgreSQL 15");
    }
    // A node that hangs must not hold the writers' lock for ever. What was acknowledged must be on the disk, whatever
    // the database's own default is.
    execute(
        "SET lock_timeout = '10s'; SET statement_timeout = '30s'; SET idle_in_transaction_session_timeout = '30s'; "
        "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'");
  }

  Dialect dialect() const override { return Dialect::kPostgres; }
  bool usable() const override { return !session_.lost && PQstatus(session_.conn.get()) == CONNECTION_OK; }

  Statement prepare(std::string_view sql) override {
    return Statement(std::make_unique<PostgresStatement>(session_, names_, std::string(sql)));
  }

  void execute(const std::string& sql) override {
    const Result result(PQexec(session_.conn.get(), sql.c_str()));
    session_.check(result, "run a script");
    // The answer to the COMMIT of a transaction that has failed is no error but the word ROLLBACK.
    if (sql == "COMMIT" && std::string_view(PQcmdStatus(result.get())) != "COMMIT") {
      throw Error("database_failed", "postgresql rolled a transaction back instead of committing it");
    }
  }

  void begin_exclusive() override {
    try {
      // Read committed: each statement after the lock sees all that was committed before it was given.
      execute(fmt::format("BEGIN ISOLATION LEVEL READ COMMITTED; SELECT pg_advisory_xact_lock({})", kWriterLock));
    } catch (const Error&) {
      if (usable()) execute("ROLLBACK");
      throw;
    }
  }

  void begin_snapshot() override { execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"); }

  std::int64_t schema_version() override {
    // Not to_regclass(), which after waiting for the writers' lock still says from its cache what was so before.
    Statement there = prepare(
        "SELECT count(*) FROM pg_catalog.pg_class WHERE relname = 'schema_version' AND pg_table_is_visible(oid)");
    there.step();
    if (there.integer(0) == 0) return 0;
    Statement row = prepare("SELECT version FROM schema_version");
    return row.step() ? row.integer(0) : 0;
  }
  void set_schema_version(std::int64_t version) override {
    execute(
        fmt::format("CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL); "
                    "DELETE FROM schema_version; INSERT INTO schema_version (version) VALUES ({})",
                    version));
  }

 private:
  Session session_;
  PostgresStatement::Names names_;
};

}  // namespace

std::unique_ptr<Connection> open_postgres(const SecretString& url) {
  return std::make_unique<PostgresConnection>(url);
}

bool holds_password(const SecretString& url) {
  return !option(parsed(url), "password").empty();
}

std::string printable_postgres_url(const SecretString& url) {
  const Options options = parsed(url);
  std::string out = "postgresql://";
  if (const auto user = option(options, "user"); !user.empty()) out += fmt::format("{}@", user);
  out += option(options, "host");
  if (const auto port = option(options, "port"); !port.empty()) out += fmt::format(":{}", port);
  return out + fmt::format("/{}", option(options, "dbname"));
}

}  // namespace tb::sql
