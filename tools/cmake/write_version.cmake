# Runs at every build; the file is rewritten, and so compiled, only when the revision has changed.
# Usage: cmake -DSOURCE_DIR=... -DOUTPUT=... -DTERN_VERSION=... -P write_version.cmake
execute_process(COMMAND git describe --always --dirty --tags --abbrev=12
  WORKING_DIRECTORY ${SOURCE_DIR} OUTPUT_VARIABLE TERN_REVISION RESULT_VARIABLE result
  OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
if(NOT result EQUAL 0)
  set(TERN_REVISION unknown)
endif()
configure_file(${CMAKE_CURRENT_LIST_DIR}/version.cpp.in ${OUTPUT} @ONLY)
