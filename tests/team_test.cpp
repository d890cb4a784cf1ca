// How ranks find each other, and how they end together.
#include "tools/team.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <map>
#include <thread>

#include "dist/group_module.h"
#include "dist/rank_variables.h"
#include "dist/rendezvous.h"
#include "tests/catch.h"
#include "tests/thread_group.h"
#include "tools/exit_codes.h"

using namespace tern;

namespace {

dist::Environment variables(std::map<std::string, std::string> values) {
  return [values = std::move(values)](const std::string& name) -> std::optional<std::string> {
    const auto found = values.find(name);
    return found == values.end() ? std::nullopt : std::optional(found->second);
  };
}

/// Exit codes by rank of ranks that run `work` and then end as the programs do.
std::vector<int> codes_of(int ranks, const std::function<void(Team&)>& work) {
  std::vector<int> codes(static_cast<size_t>(ranks));
  test::Mail mail;
  test::run_ranks(mail, ranks, [&](dist::Group& group) {
    Team team(group);
    int& code = codes[static_cast<size_t>(group.rank())];
    try {
      work(team);
    } catch (const std::exception& error) {
      code = team.fail(error, "test");
    }
  });
  return codes;
}

/// A port of this machine that was free just now.
uint16_t free_port() {
  const int probe = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  REQUIRE(::bind(probe, reinterpret_cast<sockaddr*>(&address), size) == 0);
  REQUIRE(::getsockname(probe, reinterpret_cast<sockaddr*>(&address), &size) == 0);
  ::close(probe);
  return ntohs(address.sin_port);
}

}  // namespace

TEST_CASE("placement_of: launchers' variables", "[dist]") {
  const dist::Placement none = dist::placement_of(variables({}));
  CHECK(none.size == 1);
  CHECK(none.source.empty());
  const dist::Placement torch = dist::placement_of(variables(
      {{"RANK", "3"}, {"WORLD_SIZE", "8"}, {"LOCAL_RANK", "1"}, {"MASTER_ADDR", "host0"}, {"MASTER_PORT", "29500"}}));
  CHECK(torch.rank == 3);
  CHECK(torch.size == 8);
  CHECK(torch.local_rank == 1);
  CHECK(torch.address == "host0");
  CHECK(torch.port == 29500);
  const dist::Placement ompi = dist::placement_of(variables(
      {{"OMPI_COMM_WORLD_RANK", "2"}, {"OMPI_COMM_WORLD_SIZE", "4"}, {"OMPI_COMM_WORLD_LOCAL_RANK", "2"}, {"SLURM_PROCID", "0"}, {"SLURM_STEP_ID", "0"}}));
  CHECK(ompi.rank == 2);
  CHECK(ompi.local_rank == 2);
  const dist::Placement slurm = dist::placement_of(variables({{"SLURM_PROCID", "5"}, {"SLURM_NTASKS", "8"}, {"SLURM_LOCALID", "1"}, {"SLURM_STEP_ID", "0"}}));
  CHECK(slurm.rank == 5);
  CHECK(slurm.local_rank == 1);
  // In a batch script the job's variables are there, but nobody started ranks.
  CHECK(dist::placement_of(variables({{"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "8"}})).size == 1);
}

TEST_CASE("placement_of: contradictions name both variables", "[dist]") {
  const auto message = [](std::map<std::string, std::string> values) {
    try {
      dist::placement_of(variables(std::move(values)));
    } catch (const ConfigError& error) {
      return std::string(error.what());
    }
    return std::string("accepted");
  };
  CHECK_THAT(message({{"RANK", "1"}, {"OMPI_COMM_WORLD_RANK", "0"}, {"WORLD_SIZE", "2"}}), HasText("RANK is 1, but OMPI_COMM_WORLD_RANK is 0"));
  CHECK_THAT(message({{"RANK", "1"}, {"WORLD_SIZE", "2"}, {"SLURM_STEP_ID", "0"}, {"SLURM_NTASKS", "4"}}), HasText("WORLD_SIZE is 2, but SLURM_NTASKS is 4"));
  CHECK_THAT(message({{"OMPI_COMM_WORLD_RANK", "0"}, {"PMI_RANK", "1"}, {"PMI_SIZE", "2"}}), HasText("PMI_RANK"));
  CHECK_THAT(message({{"RANK", "0"}, {"WORLD_SIZE", "1"}, {"LOCAL_RANK", "0"}, {"MPI_LOCALRANKID", "3"}}), HasText("MPI_LOCALRANKID is 3"));
  CHECK_THAT(message({{"RANK", "2"}, {"WORLD_SIZE", "2"}}), HasText("numbered from 0"));
  CHECK_THAT(message({{"RANK", "2"}}), HasText("WORLD_SIZE"));
  CHECK_THAT(message({{"WORLD_SIZE", "2"}}), HasText("set RANK"));
  CHECK_THAT(message({{"RANK", "one"}, {"WORLD_SIZE", "2"}}), HasText("got \"one\""));
  CHECK_THAT(message({{"MASTER_PORT", "70000"}}), HasText("MASTER_PORT"));
}

TEST_CASE("share_from_rank_0: all get rank 0's bytes, whoever comes first", "[dist]") {
  constexpr int kRanks = 4;
  const std::vector<std::byte> secret(128, std::byte{42});
  const uint16_t port = free_port();
  std::vector<std::vector<std::byte>> got(kRanks);
  std::vector<std::thread> threads;
  for (int rank = kRanks - 1; rank >= 0; --rank)
    threads.emplace_back([&, rank] {
      const dist::Placement placement{.rank = rank, .size = kRanks, .local_rank = rank, .source = "RANK", .address = "127.0.0.1", .port = port};
      const std::vector<std::byte> mine = rank == 0 ? secret : std::vector<std::byte>(128);
      if (rank == 0) std::this_thread::sleep_for(std::chrono::milliseconds(60));  // the others have to ask again
      got[static_cast<size_t>(rank)] = dist::share_from_rank_0(placement, mine, std::chrono::seconds(20));
    });
  for (std::thread& thread : threads) thread.join();
  for (const std::vector<std::byte>& bytes : got) CHECK((bytes == secret));
}

TEST_CASE("share_from_rank_0: missing variables, and ranks that do not come", "[dist]") {
  const std::vector<std::byte> bytes(128);
  CHECK_THROWS_AS(dist::share_from_rank_0({.rank = 0, .size = 2, .source = {}, .address = {}}, bytes), ConfigError);
  const dist::Placement alone{.rank = 0, .size = 2, .source = {}, .address = "127.0.0.1", .port = free_port()};
  CHECK_THROWS_AS(dist::share_from_rank_0(alone, bytes, std::chrono::seconds(0)), PeerLostError);
  dist::Placement other = alone;
  other.rank = 1;
  CHECK_THROWS_AS(dist::share_from_rank_0(other, bytes, std::chrono::seconds(0)), PeerLostError);
}

TEST_CASE("GroupModule: an engine that is not there says what to install", "[dist]") {
  try {
    dist::GroupModule module("pigeon");
    FAIL("loaded");
  } catch (const DeviceError& error) {
    CHECK_THAT(error.what(), HasText("libtern_pigeon.so"));
    CHECK_THAT(error.what(), HasText("install"));
  }
}

TEST_CASE("Team: what fails on one rank ends all with its exit code", "[dist]") {
  const auto fails_on = [](int rank, auto error) {
    return [=](Team& team) {
      team.gather("stage 1");
      if (team.rank() == rank) throw error;
      team.gather("stage 2");
      team.gather("stage 3");
    };
  };
  CHECK(codes_of(3, fails_on(1, DataError("no data"))) == std::vector{3, 3, 3});
  CHECK(codes_of(3, fails_on(0, ConfigError("bad"))) == std::vector{2, 2, 2});
  CHECK(codes_of(4, [](Team& team) {
          if (team.rank() >= 2) throw DeviceError("no GPU");
          if (team.rank() == 1) throw DataError("no data");
          team.from_leader("hello");
        }) == std::vector{3, 3, 3, 3});
  CHECK(codes_of(2, [](Team&) { throw DivergedError("NaN"); }) == std::vector{5, 5});
  CHECK(codes_of(1, [](Team&) { throw DataError("no data"); }) == std::vector{3});
}

TEST_CASE("Team: an error in the middle of a step aborts, one that all ranks see does not", "[dist]") {
  test::Mail mail;
  CHECK_THROWS_AS(test::run_ranks(mail, 2,
                                  [](dist::Group& group) {
                                    Team team(group);
                                    team.set_stepping(true);
                                    if (group.rank() == 1) team.fail(DataError("bad sector"), "test");
                                  }),
                  test::Aborted);
  CHECK(codes_of(3, [](Team& team) {
          team.set_stepping(true);
          throw DivergedError("NaN");
        }) == std::vector{5, 5, 5});
}

TEST_CASE("Team: signals and time of any rank count for all; texts are compared", "[dist]") {
  std::vector<int> good(3);
  test::Mail mail;
  test::run_ranks(mail, 3, [&](dist::Group& group) {
    Team team(group);
    const int rank = group.rank();
    const StopRequest none = team.agree({});
    const StopRequest some = team.agree({.signal = rank == 2 ? 15 : 0, .out_of_time = rank == 1});
    const bool same = team.first_unlike("x") == -1, other = team.first_unlike(rank == 2 ? "y" : "x") == 2;
    const double value = team.value_from_leader(rank + 0.5);
    good[static_cast<size_t>(rank)] = none.signal == 0 && !none.out_of_time && some.signal == 15 && some.out_of_time && same && other && value == 0.5;
  });
  CHECK(good == std::vector{1, 1, 1});
  Team alone;
  CHECK(alone.leads());
  CHECK(alone.agree({.signal = 2}).signal == 2);
  CHECK(alone.first_unlike("x") == -1);
}
