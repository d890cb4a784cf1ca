# Finds cuDNN 9 in the usual system places, in the CUDA toolkit, and in the Python wheels (nvidia/cudnn in the
# site-packages of the `python3` on the PATH). CUDNN_ROOT (variable or environment) goes first.
#
# Sets CUDNN_FOUND, CUDNN_VERSION, CUDNN_INCLUDE_DIR, CUDNN_LIBRARY; defines the target CUDNN::cudnn.
set(cudnn_hints ${CUDAToolkit_TARGET_DIR} ${CUDAToolkit_LIBRARY_ROOT} /usr/local/cuda)
find_program(CUDNN_PYTHON python3)
mark_as_advanced(CUDNN_PYTHON)
if(CUDNN_PYTHON)
  execute_process(
    COMMAND ${CUDNN_PYTHON} -c
      "import site, sysconfig; print(';'.join(dict.fromkeys([sysconfig.get_paths()['purelib'], *site.getsitepackages(), site.getusersitepackages()])))"
    OUTPUT_VARIABLE site_packages OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  foreach(dir IN LISTS site_packages)
    list(APPEND cudnn_hints ${dir}/nvidia/cudnn)
  endforeach()
endif()

find_path(CUDNN_INCLUDE_DIR NAMES cudnn.h cudnn_v9.h HINTS ${cudnn_hints} PATH_SUFFIXES include)
# Wheels have no libcudnn.so, only the versioned name.
find_library(CUDNN_LIBRARY NAMES cudnn libcudnn.so.9 HINTS ${cudnn_hints} PATH_SUFFIXES lib lib64)

if(CUDNN_INCLUDE_DIR AND EXISTS ${CUDNN_INCLUDE_DIR}/cudnn_version.h)
  file(STRINGS ${CUDNN_INCLUDE_DIR}/cudnn_version.h lines REGEX "^#define CUDNN_(MAJOR|MINOR|PATCHLEVEL) ")
  string(REGEX REPLACE "[^0-9;]" "" numbers "${lines}")
  string(REPLACE ";" "." CUDNN_VERSION "${numbers}")
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(CUDNN REQUIRED_VARS CUDNN_LIBRARY CUDNN_INCLUDE_DIR VERSION_VAR CUDNN_VERSION)
mark_as_advanced(CUDNN_INCLUDE_DIR CUDNN_LIBRARY)
if(CUDNN_FOUND AND NOT TARGET CUDNN::cudnn)
  add_library(CUDNN::cudnn UNKNOWN IMPORTED)
  set_target_properties(CUDNN::cudnn PROPERTIES
    IMPORTED_LOCATION ${CUDNN_LIBRARY} INTERFACE_INCLUDE_DIRECTORIES ${CUDNN_INCLUDE_DIR})
endif()
