#include "tests/cuda_emulation/symbols.h"

#include <cxxabi.h>
#include <elf.h>
#include <link.h>

#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <map>

namespace tern::emulation {
namespace {

struct Symbols {
  std::map<uintptr_t, std::string> functions;  ///< by address, mangled
  /// Local statics that start as zeros and want no constructor, as shared arrays: mangled name -> memory.
  std::map<std::string, std::span<std::byte>> statics;
};

template <class T>
std::span<const T> table(const std::vector<char>& image, const Elf64_Shdr& section) {
  return {reinterpret_cast<const T*>(image.data() + section.sh_offset), section.sh_size / sizeof(T)};
}

/// The first module that is iterated is the executable itself.
int load_base(dl_phdr_info* module, size_t, void* base) {
  *static_cast<uintptr_t*>(base) = module->dlpi_addr;
  return 1;
}

Symbols read_symbols() {
  Symbols symbols;
  uintptr_t base = 0;
  dl_iterate_phdr(load_base, &base);
  std::vector<std::string> guarded;
  std::ifstream file("/proc/self/exe", std::ios::binary);
  const std::vector<char> image{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  if (image.size() < sizeof(Elf64_Ehdr)) return symbols;
  const auto& header = *reinterpret_cast<const Elf64_Ehdr*>(image.data());
  const std::span sections(reinterpret_cast<const Elf64_Shdr*>(image.data() + header.e_shoff), header.e_shnum);
  for (const Elf64_Shdr& section : sections) {
    if (section.sh_type != SHT_SYMTAB) continue;
    const char* names = image.data() + sections[section.sh_link].sh_offset;
    for (const Elf64_Sym& symbol : table<Elf64_Sym>(image, section)) {
      const std::string name = names + symbol.st_name;
      const uintptr_t address = base + symbol.st_value;
      if (name.starts_with("_ZGVZ")) guarded.push_back("_Z" + name.substr(4));
      const int type = ELF64_ST_TYPE(symbol.st_info);
      if (type == STT_FUNC && symbol.st_size > 0) symbols.functions.emplace(address, name);
      if (type == STT_OBJECT && name.starts_with("_ZZ") && symbol.st_shndx < sections.size() &&
          sections[symbol.st_shndx].sh_type == SHT_NOBITS)
        symbols.statics.emplace(name, std::span(reinterpret_cast<std::byte*>(address), symbol.st_size));
    }
  }
  for (const std::string& name : guarded) symbols.statics.erase(name);
  return symbols;
}

const Symbols& symbols() {
  static const Symbols read = read_symbols();
  return read;
}

}  // namespace

std::string kernel_name(const void* kernel) {
  const auto found = symbols().functions.find(reinterpret_cast<uintptr_t>(kernel));
  if (found == symbols().functions.end()) return "a kernel";
  int status = 0;
  char* demangled = abi::__cxa_demangle(found->second.c_str(), nullptr, nullptr, &status);
  const std::string name = status == 0 ? demangled : found->second;
  std::free(demangled);
  return name.substr(0, name.rfind('('));
}

std::vector<std::span<std::byte>> shared_arrays(const void* kernel) {
  std::vector<std::span<std::byte>> arrays;
  const auto found = symbols().functions.find(reinterpret_cast<uintptr_t>(kernel));
  const std::string own = found == symbols().functions.end() ? "" : "_ZZ" + found->second.substr(2) + "E";
  for (const auto& [name, memory] : symbols().statics)
    if ((!own.empty() && name.starts_with(own)) || name.starts_with("_ZZN4tern4cuda")) arrays.push_back(memory);
  return arrays;
}

}  // namespace tern::emulation
