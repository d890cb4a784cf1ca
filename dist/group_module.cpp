#include "dist/group_module.h"

#include <dlfcn.h>

#include <filesystem>
#include <system_error>
#include <vector>

#include "core/error.h"

namespace tern::dist {
namespace {

namespace fs = std::filesystem;

std::string advice(const std::string& engine) {
  if (engine == "mpi")
    return "install Open MPI's development files (Debian, Ubuntu: apt-get install libopenmpi-dev openmpi-bin) and build tern again";
  return "install CUDA and NCCL (packages libnccl2 and libnccl-dev of NVIDIA's repository) and build tern again with CUDA";
}

std::vector<fs::path> places(const std::string& file) {
  std::error_code ignored;
  const fs::path program = fs::read_symlink("/proc/self/exe", ignored).parent_path();
  return {program / file, program / TERN_MODULE_FOLDER / file};
}

}  // namespace

GroupModule::GroupModule(const std::string& engine) {
  const std::string file = "libtern_" + engine + ".so";
  std::string looked;
  for (const fs::path& path : places(file)) {
    if (fs::exists(path)) {
      path_ = path.string();
      break;
    }
    looked += (looked.empty() ? "" : " and ") + path.lexically_normal().string();
  }
  if (path_.empty()) throw DeviceError("--dist " + engine + ": there is no module for it, looked for " + looked + "; " + advice(engine));
  // Open MPI's own plug-ins look its symbols up among the global ones.
  handle_ = ::dlopen(path_.c_str(), RTLD_NOW | RTLD_GLOBAL);
  if (!handle_) throw DeviceError("--dist " + engine + ": cannot load " + path_ + ": " + ::dlerror() + "; " + advice(engine));
  const int version = reinterpret_cast<GroupModuleVersion*>(function(kGroupModuleVersionName))();
  if (version != kGroupModuleVersion)
    throw DeviceError("--dist " + engine + ": " + path_ + " is of another build (interface " + std::to_string(version) + ", wanted " +
                      std::to_string(kGroupModuleVersion) + "); " + advice(engine));
}

void* GroupModule::function(const char* name) const {
  void* found = ::dlsym(handle_, name);
  if (!found) throw DeviceError(path_ + ": has no " + name + ", it is no module of tern");
  return found;
}

std::array<std::byte, 128> GroupModule::new_id() const {
  std::array<std::byte, 128> id{};
  reinterpret_cast<NewGroupId*>(function(kNewGroupIdName))(id);
  return id;
}

std::unique_ptr<Group> GroupModule::open(const GroupStart& start) const {
  return std::unique_ptr<Group>(reinterpret_cast<OpenGroup*>(function(kOpenGroupName))(start));
}

}  // namespace tern::dist
