# Installs the build to a fresh prefix, then configures, builds and runs the programs that use it: the consumer beside this
# file and the tutorial's.
# Usage: cmake -DBUILD=<binary dir> -DCONFIG=<build type> -DCOMPILER=... -DFLAGS=... -DGENERATOR=... -P run.cmake
function(run)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE result)
  if(NOT result EQUAL 0)
    list(JOIN ARGN " " line)
    message(FATAL_ERROR "failed (${result}): ${line}")
  endif()
endfunction()

set(work ${BUILD}/package_test)
file(REMOVE_RECURSE ${work})
run(${CMAKE_COMMAND} --install ${BUILD} --prefix ${work}/prefix)
foreach(program IN ITEMS consumer tutorial)
  set(source ${CMAKE_CURRENT_LIST_DIR})
  if(program STREQUAL "tutorial")
    set(source ${CMAKE_CURRENT_LIST_DIR}/../tutorial)
  endif()
  run(${CMAKE_COMMAND} -S ${source} -B ${work}/${program} -G ${GENERATOR} -DCMAKE_BUILD_TYPE=${CONFIG}
    -DCMAKE_CXX_COMPILER=${COMPILER} -DCMAKE_CXX_FLAGS=${FLAGS} -DCMAKE_PREFIX_PATH=${work}/prefix)
  run(${CMAKE_COMMAND} --build ${work}/${program})
  run(${work}/${program}/${program})
endforeach()
