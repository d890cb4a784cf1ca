# Runs TRAINER on the emulated GPU in each precision: a straight training and one with a stop must end in the same bytes.
# Usage: cmake -DTRAINER=... -DDATA=... -DCONFIG=... -DOUT=... -P train.cmake
file(REMOVE_RECURSE ${OUT})
foreach(precision fp32 tf32 bf16 fp16)
  execute_process(
    COMMAND ${TRAINER} verify-resume ${CONFIG} --set data.dir=${DATA} --device cuda --precision ${precision} --stop-after 5
            --progress none --out ${OUT}/${precision}
    RESULT_VARIABLE code OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(NOT code EQUAL 0)
    message(FATAL_ERROR "${precision}: exit code ${code}\n${output}")
  endif()
endforeach()
# What is not there is exit 4.
execute_process(COMMAND ${TRAINER} ${CONFIG} --set data.dir=${DATA} --device cuda:7 --out ${OUT}/absent
  RESULT_VARIABLE code OUTPUT_VARIABLE output ERROR_VARIABLE output)
if(NOT code EQUAL 4 OR NOT output MATCHES "cuda:7")
  message(FATAL_ERROR "--device cuda:7: exit code ${code}\n${output}")
endif()
# A diverging run is exit 5 and names the step at which it began, although its outcome comes later.
execute_process(
  COMMAND ${TRAINER} ${CONFIG} --set data.dir=${DATA} --set optim.0.lr=1e30 --device cuda --precision fp32 --progress none
          --out ${OUT}/wild
  RESULT_VARIABLE code OUTPUT_VARIABLE output ERROR_VARIABLE output)
if(NOT code EQUAL 5 OR NOT output MATCHES "epoch 1, step [23]: [^\n]* is not finite")
  message(FATAL_ERROR "a diverging run: exit code ${code}\n${output}")
endif()
