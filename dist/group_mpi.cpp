// The engine on MPI: a module of its own (dist/group_module.h).
#include <mpi.h>
#include <time.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

#include "core/error.h"
#include "dist/group_module.h"

namespace tern::dist {
namespace {

constexpr size_t kMostBytes = size_t{1} << 30;  // a message: MPI counts in int
constexpr int kTag = 1;

void check(int status, const char* what) {
  if (status == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING] = {};
  int length = 0;
  MPI_Error_string(status, text, &length);
  throw PeerLostError(std::string("[") + what + "] " + std::string(text, static_cast<size_t>(length)));
}

/// Calls `one(offset, count)` for pieces that MPI can count.
template <class One>
void in_pieces(size_t bytes, One one) {
  for (size_t offset = 0; offset < bytes; offset += kMostBytes) one(offset, static_cast<int>(std::min(kMostBytes, bytes - offset)));
}

class MpiGroup final : public Group {
 public:
  MpiGroup() {
    int ready = 0, provided = 0;
    MPI_Initialized(&ready);
    if (!ready) check(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided), "MPI_Init_thread");
    check(MPI_Comm_dup(MPI_COMM_WORLD, &world_), "MPI_Comm_dup");
    MPI_Comm_set_errhandler(world_, MPI_ERRORS_RETURN);
    MPI_Comm_rank(world_, &rank_);
    MPI_Comm_size(world_, &size_);
    MPI_Comm local = MPI_COMM_NULL;
    check(MPI_Comm_split_type(world_, MPI_COMM_TYPE_SHARED, rank_, MPI_INFO_NULL, &local), "MPI_Comm_split_type");
    MPI_Comm_rank(local, &local_rank_);
    MPI_Comm_free(&local);
  }
  ~MpiGroup() override { MPI_Finalize(); }
  MpiGroup(const MpiGroup&) = delete;
  MpiGroup& operator=(const MpiGroup&) = delete;

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  int local_rank() const override { return local_rank_; }
  GroupCaps caps() const override { return {.bitwise = true}; }
  OnFailure on_failure() const override { return OnFailure::fatal; }

  void exchange(std::span<const RankSend> sends, std::span<const RankReceive> receives, Memory memory) override {
    if (memory != Memory::host) throw DeviceError("[mpi] takes the host's memory only");
    requests_.clear();
    for (const RankReceive& receive : receives)
      in_pieces(receive.bytes.size(), [&](size_t offset, int count) {
        check(MPI_Irecv(receive.bytes.data() + offset, count, MPI_BYTE, receive.from, kTag, world_, &requests_.emplace_back()), "MPI_Irecv");
      });
    for (const RankSend& send : sends)
      in_pieces(send.bytes.size(), [&](size_t offset, int count) {
        check(MPI_Isend(send.bytes.data() + offset, count, MPI_BYTE, send.to, kTag, world_, &requests_.emplace_back()), "MPI_Isend");
      });
    wait();
  }

  [[noreturn]] void abort(int exit_code) override {
    MPI_Abort(world_, exit_code);
    _Exit(exit_code);
  }

 private:
  /// MPI_Waitall spins; where a rank waits for long (rank 0 evaluates) or ranks share processors that takes time from
  /// those that compute.
  void wait() {
    using Clock = std::chrono::steady_clock;
    const auto begin = Clock::now();
    constexpr auto kSpin = std::chrono::microseconds(200);
    int done = 0;
    while (true) {
      check(MPI_Testall(static_cast<int>(requests_.size()), requests_.data(), &done, MPI_STATUSES_IGNORE), "MPI_Testall");
      if (done) return;
      const auto waited = Clock::now() - begin;
      if (waited < kSpin) continue;
      const timespec nap{0, waited < std::chrono::milliseconds(50) ? 20'000 : 1'000'000};
      ::nanosleep(&nap, nullptr);
    }
  }

  MPI_Comm world_ = MPI_COMM_NULL;
  int rank_ = 0, size_ = 1, local_rank_ = 0;
  std::vector<MPI_Request> requests_;
};

}  // namespace
}  // namespace tern::dist

extern "C" int tern_group_module_version() { return tern::dist::kGroupModuleVersion; }
extern "C" tern::dist::Group* tern_open_group(const tern::dist::GroupStart&) { return new tern::dist::MpiGroup; }
