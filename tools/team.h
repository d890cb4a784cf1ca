#pragma once
#include <cstring>
#include <exception>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "core/error.h"
#include "dist/group.h"

namespace tern {

/// Another rank failed: this one ends with its exit code and says nothing.
struct RankError : Error {
  RankError(int first_rank, int exit_code, const std::string& what) : Error(what), rank(first_rank), code(exit_code) {}
  int rank, code;
};

/// Why a training should stop after this step.
struct StopRequest {
  int signal = 0;
  bool out_of_time = false;
};

/// The processes of one training as the programs see them: rank 0 leads, which means that it writes files, prints and
/// evaluates. Alone, everything is a no-op. What fails before or after the steps, on whichever ranks, ends all ranks with one
/// message and one exit code: every talk between them says first whether its rank is well.
class Team {
 public:
  Team() = default;
  explicit Team(dist::Group& group) : group_(&group) {}

  dist::Group* group() const { return group_; }
  int rank() const { return group_ ? group_->rank() : 0; }
  int size() const { return group_ ? group_->size() : 1; }
  bool leads() const { return rank() == 0; }

  /// Every rank's text, by rank. Throws RankError where a rank has failed.
  std::vector<std::string> gather(const std::string& mine);
  std::string from_leader(const std::string& text);
  template <class T>
    requires std::is_trivially_copyable_v<T>
  T value_from_leader(const T& value) {
    if (size() == 1) return value;
    const std::string bytes = from_leader({reinterpret_cast<const char*>(&value), sizeof value});
    T result;
    std::memcpy(&result, bytes.data(), sizeof result);
    return result;
  }
  /// Whether all ranks have the same text: the first that has another than rank 0, or -1.
  int first_unlike(const std::string& mine);
  /// Signals of any rank, and any rank's end of time, count for all.
  StopRequest agree(StopRequest mine);
  /// Runs `work` on one rank after another.
  template <class Work>
  void in_turn(Work work) {
    for (int rank = 0; rank < size(); ++rank) {
      if (rank == this->rank()) work();
      gather({});
    }
  }

  /// While steps are taken the others may wait in the middle of one for ever: an error then ends all processes at once.
  void set_stepping(bool on) { stepping_ = on; }

  /// What a program does with an error in the end: one rank prints it; returns the exit code.
  int fail(const std::exception& error, const std::string& program);

 private:
  dist::Group* group_ = nullptr;
  bool stepping_ = false;
};

}  // namespace tern
