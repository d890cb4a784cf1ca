# `cmake --install`: the library with its headers and CMake package, the programs, and their configs.
# Headers go to include/tern, which is on the target's include path, so `#include "core/tensor.h"` reads the same
# outside this tree as inside.
include(CMakePackageConfigHelpers)
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/tern)
target_include_directories(tern PUBLIC $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}/tern>)
install(TARGETS tern EXPORT ternTargets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY core kernels nn optim dist DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/tern FILES_MATCHING PATTERN "*.h")
install(EXPORT ternTargets NAMESPACE tern:: DESTINATION ${package_dir})
configure_package_config_file(tools/cmake/ternConfig.cmake.in ${PROJECT_BINARY_DIR}/ternConfig.cmake
  INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/ternConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/ternConfig.cmake ${PROJECT_BINARY_DIR}/ternConfigVersion.cmake
  tools/cmake/FindCUDNN.cmake DESTINATION ${package_dir})
if(TERN_PROGRAMS)
  install(TARGETS ${TERN_PROGRAMS} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()
if(TERN_MODULES)
  install(TARGETS ${TERN_MODULES} LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}/tern)
endif()
install(DIRECTORY tools/configs DESTINATION ${CMAKE_INSTALL_DATADIR}/tern FILES_MATCHING PATTERN "*.json")
install(FILES LICENSE README.md DESTINATION ${CMAKE_INSTALL_DOCDIR})
