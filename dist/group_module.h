#pragma once
#include <array>
#include <memory>
#include <string>

#include "dist/group.h"

/// Engines on libraries of others (MPI, NCCL) are modules, loaded only when they are asked for: the programs start
/// without those libraries. A module is one source file, dist/group_NAME.cpp, and exports the functions below.
namespace tern::dist {

/// What a module needs to join a group. MPI finds out the ranks by itself.
struct GroupStart {
  int rank = 0, size = 1, local_rank = 0;
  int device = 0;                 ///< GPU
  std::array<std::byte, 128> id = {};  ///< rank 0's new_id(), for all
};

/// Changes with every change of Group, GroupStart or the functions.
constexpr int kGroupModuleVersion = 1;

using GroupModuleVersion = int();
using OpenGroup = Group*(const GroupStart&);          ///< may throw
using NewGroupId = void(std::array<std::byte, 128>&);  ///< may throw; only where the engine needs one

constexpr const char* kGroupModuleVersionName = "tern_group_module_version";
constexpr const char* kOpenGroupName = "tern_open_group";
constexpr const char* kNewGroupIdName = "tern_new_group_id";

/// A loaded module. It stays loaded until the process ends: the libraries behind it do not bear to be unloaded.
class GroupModule {
 public:
  /// `engine`: "mpi" or "nccl". Looks for libtern_ENGINE.so beside the program and in the installation's library folder.
  /// Throws DeviceError that says what to install or build.
  explicit GroupModule(const std::string& engine);
  std::array<std::byte, 128> new_id() const;
  std::unique_ptr<Group> open(const GroupStart& start) const;

 private:
  void* function(const char* name) const;
  std::string path_;
  void* handle_ = nullptr;
};

}  // namespace tern::dist
