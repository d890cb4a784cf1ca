# Build options, and the flags that every source of tern is compiled with (target tern_flags).
set(TERN_CUDA AUTO CACHE STRING "CUDA support: AUTO (when nvcc is found), ON or OFF")
set_property(CACHE TERN_CUDA PROPERTY STRINGS AUTO ON OFF)
option(TERN_WERROR "Warnings are errors" OFF)
set(TERN_SANITIZE "" CACHE STRING "Sanitizers, as for -fsanitize=: address,undefined or thread")
option(TERN_NATIVE "Use this machine's instruction set instead of the x86-64-v3 baseline" OFF)
option(TERN_FUZZ "Build the libFuzzer programs of tests/fuzz (needs clang)" OFF)

if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release)
endif()
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR})

find_program(CCACHE ccache)
mark_as_advanced(CCACHE)
if(CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  # The precompiled test header is cached only with these two reliefs.
  set(launcher ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros ${CCACHE})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${launcher})
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${launcher})
endif()

add_library(tern_flags INTERFACE)
target_include_directories(tern_flags INTERFACE ${PROJECT_SOURCE_DIR})
# Contraction is written out (MulAdd): the compiler's own choice would differ between inlined copies of one function.
set(flags -Wall -Wextra -ffp-contract=off)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  list(APPEND flags -Wno-restrict)  # GCC bug 105651: a false alarm on "text" + std::string
endif()
if(TERN_NATIVE)
  list(APPEND flags -march=native)
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  list(APPEND flags -march=x86-64-v3)
endif()
if(TERN_WERROR)
  list(APPEND flags -Werror)
endif()
# The standard is a plain flag: CMake would hand CMAKE_CXX_STANDARD on to CUDA, and CMake 3.25 does not know that nvcc 13
# has C++20.
target_compile_options(tern_flags INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-std=c++20> $<$<COMPILE_LANGUAGE:CUDA>:-std=c++20>)
foreach(flag IN LISTS flags)
  target_compile_options(tern_flags INTERFACE
    $<$<COMPILE_LANGUAGE:CXX>:${flag}> $<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=${flag}>)
endforeach()

if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  # Highway numbers its x86 targets in bits 0 to 14; all but AVX-512 (bit 8) and AVX2 (bit 9) are left out to save
  # compile time. Without AES and PCLMUL in the reckoning, x86-64-v3 is Highway's AVX2, and so its baseline.
  target_compile_definitions(tern_flags INTERFACE HWY_DISABLED_TARGETS=0x7CFF HWY_DISABLE_PCLMUL_AES)
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "aarch64|arm64")
  # Kernels hold vectors in arrays, which SVE's have no size for: NEON alone.
  target_compile_definitions(tern_flags INTERFACE "HWY_DISABLED_TARGETS=(HWY_SVE|HWY_SVE2|HWY_SVE_256|HWY_SVE2_128)")
endif()

if(TERN_FUZZ)
  if(NOT CMAKE_CXX_COMPILER_ID MATCHES "Clang")
    message(FATAL_ERROR "TERN_FUZZ needs clang (libFuzzer): configure with -DCMAKE_CXX_COMPILER=clang++")
  endif()
  set(sanitizers -fsanitize=address,undefined,fuzzer-no-link)
elseif(TERN_SANITIZE)
  set(sanitizers -fsanitize=${TERN_SANITIZE})
endif()
if(sanitizers)
  # Whole-tree flags: a library built without them would hide the faults of its inlined copies.
  add_compile_options($<$<COMPILE_LANGUAGE:CXX>:${sanitizers}> $<$<COMPILE_LANGUAGE:CXX>:-fno-omit-frame-pointer>
    $<$<COMPILE_LANGUAGE:CXX>:-fno-sanitize-recover=all>)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # The checks' own branches confuse this warning; the optimised builds keep it.
    target_compile_options(tern_flags INTERFACE -Wno-maybe-uninitialized)
  else()
    target_compile_options(tern_flags INTERFACE -Wno-pass-failed)  # nor do they let every loop become vectors
  endif()
  add_link_options(${sanitizers})
endif()
