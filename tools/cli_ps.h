#pragma once
#include <chrono>
#include <optional>
#include <span>
#include <string>
#include <variant>

#include "dist/security.h"
#include "dist/transport.h"
#include "tools/cli.h"
#include "tools/ps_engine.h"

/// The command lines of ps_server and ps_worker.
namespace tern {

/// `ps_server CONFIG --listen HOST:PORT ...`
struct ServerArgs {
  TrainArgs train;  ///< config, overrides, out, resume, init_from, max_seconds, progress
  PsOptions ps;
  std::optional<dist::Address> metrics;  ///< --metrics
};

/// `ps_server --shard-of HOST:PORT --listen HOST:PORT ...`
struct ShardArgs {
  dist::Address server, listen;
  dist::Security security;
  std::string name;                     ///< default: HOST-PID
  std::string advertise;                ///< HOST:PORT that workers are told, or ""
  std::chrono::milliseconds reconnect{60000};
  ProgressStyle progress = ProgressStyle::automatic;
};
using ServerCommand = std::variant<ServerArgs, ShardArgs, CliText>;

/// `ps_worker --server HOST:PORT ...`
struct WorkerArgs {
  dist::Address server;
  dist::Security security;
  std::string name;                     ///< default: HOST-PID
  std::string device = "auto";
  int threads = 0;
  std::string data;                     ///< "": the folder that the server's config names
  std::chrono::milliseconds reconnect{60000};  ///< without a server for so long it gives up
  bool fold = true, plan = true, overlap = true;
  ProgressStyle progress = ProgressStyle::automatic;
};
using WorkerCommand = std::variant<WorkerArgs, CliText>;

ServerCommand parse_server(std::span<const char* const> argv);
WorkerCommand parse_worker(std::span<const char* const> argv);

}  // namespace tern
