# One test program per folder of tests/ that mirrors a room. Device rooms run once per driver that is found.
find_path(DOCTEST_INCLUDE doctest/doctest.h REQUIRED)
set(VKMOE_SWIFTSHADER_ICD "" CACHE FILEPATH "SwiftShader's ICD json; tests run on it too when it is set")
set(VKMOE_LAVAPIPE_ICD "/usr/share/vulkan/icd.d/lvp_icd.x86_64.json" CACHE FILEPATH "lavapipe's ICD json")

function(vkmoe_test_program room)
  file(GLOB sources CONFIGURE_DEPENDS tests/${room}/*_test.cpp)
  if(NOT sources)
    return()
  endif()
  add_executable(test_${room} ${sources} tests/main.cpp)
  target_include_directories(test_${room} PRIVATE tests ${DOCTEST_INCLUDE})
  target_compile_definitions(test_${room} PRIVATE VKMOE_SOURCE_DIR="${CMAKE_SOURCE_DIR}" VKMOE_BINARY_DIR="${CMAKE_BINARY_DIR}")
  target_link_libraries(test_${room} PRIVATE ${ARGN} nlohmann_json::nlohmann_json)
  vkmoe_precompile(test_${room})
  target_precompile_headers(test_${room} PRIVATE <doctest/doctest.h>)
  set_source_files_properties(tests/main.cpp PROPERTIES SKIP_PRECOMPILE_HEADERS ON)  # it defines what doctest.h makes
endfunction()

# The same program once per driver, under the validation layer; any message of it fails the test.
function(vkmoe_device_test name)
  foreach(driver lavapipe swiftshader)
    string(TOUPPER ${driver} upper)
    set(icd ${VKMOE_${upper}_ICD})
    if(icd AND EXISTS ${icd})
      add_test(NAME ${name}.${driver} COMMAND ${ARGN})
      set_tests_properties(${name}.${driver} PROPERTIES ENVIRONMENT
        "VK_ICD_FILENAMES=${icd};VK_DRIVER_FILES=${icd};VKMOE_VALIDATION=1;NODEVICE_SELECT=1;VKMOE_CACHE_DIR=${CMAKE_BINARY_DIR}/test-cache-${driver}"
        TIMEOUT 1500)
    endif()
  endforeach()
endfunction()

vkmoe_test_program(base vkmoe_base)
vkmoe_test_program(loader vkmoe_loader)
vkmoe_test_program(runtime vkmoe_runtime vkmoe_test_kernels)
vkmoe_test_program(moe vkmoe_moe)
foreach(room base loader)
  if(TARGET test_${room})
    add_test(NAME ${room} COMMAND test_${room})
  endif()
endforeach()
foreach(room runtime moe)
  if(TARGET test_${room})
    vkmoe_device_test(${room} test_${room})
  endif()
endforeach()

# The program and the C library, used from outside.
vkmoe_test_program(cli nlohmann_json::nlohmann_json)
if(TARGET test_cli)
  add_dependencies(test_cli vkmoe vkmoe-conformance vkmoe_shared)
  vkmoe_device_test(cli test_cli --test-suite-exclude=README,perplexity)
  if(EXISTS "${VKMOE_LAVAPIPE_ICD}")
    foreach(suite README perplexity)
      add_test(NAME ${suite} COMMAND test_cli --test-suite=${suite})
      set_tests_properties(${suite} PROPERTIES TIMEOUT 1500 ENVIRONMENT
        "VK_ICD_FILENAMES=${VKMOE_LAVAPIPE_ICD};VK_DRIVER_FILES=${VKMOE_LAVAPIPE_ICD};NODEVICE_SELECT=1;VKMOE_CACHE_DIR=${CMAKE_BINARY_DIR}/test-cache-${suite}")
    endforeach()
  endif()
endif()

vkmoe_test_program(conformance vkmoe_moe)
if(TARGET test_conformance)
  add_dependencies(test_conformance vkmoe-conformance)
  vkmoe_device_test(conformance test_conformance)
endif()

add_executable(c_api_test tests/api/c_api_test.c)
set_target_properties(c_api_test PROPERTIES C_STANDARD 11)
target_compile_definitions(c_api_test PRIVATE _POSIX_C_SOURCE=200809L)
target_link_libraries(c_api_test PRIVATE vkmoe_shared Threads::Threads m)
vkmoe_device_test(c_api c_api_test ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR})

# Pretended GPUs: AMD needs mesa-vulkan-drivers alone, the others what tools/compilers/build.sh makes; else skipped.
if(TARGET vkmoe_compilers_layer)
  set(VKMOE_COMPILERS ${CMAKE_BINARY_DIR}/vendor-compilers CACHE PATH "what tools/compilers/build.sh made")
  set(as_gpu ${CMAKE_SOURCE_DIR}/tools/compilers/as_gpu.sh)
  function(vkmoe_pretended_test name)
    add_test(NAME ${name} COMMAND ${ARGN})
    set_tests_properties(${name} PROPERTIES SKIP_RETURN_CODE 3 TIMEOUT 1500 ENVIRONMENT
      "VKMOE_COMPILERS=${VKMOE_COMPILERS};VKMOE_LAYERS=${CMAKE_BINARY_DIR}/layers;VKMOE_VALIDATION=1;VKMOE_COMPILER_STATS=${CMAKE_BINARY_DIR}/${name}.txt;VKMOE_CACHE_DIR=${CMAKE_BINARY_DIR}/test-cache-pretended")
  endfunction()
  foreach(gpu amd-gfx1100 amd-navi21 amd-vega10 intel-skl intel-tgl intel-dg2 intel-bmg adreno-618 adreno-660 adreno-740
      adreno-x1 mali-g52 mali-g610 mali-g76)
    vkmoe_pretended_test(pretended.${gpu} ${CMAKE_SOURCE_DIR}/tests/compilers/pretended_gpu.sh ${gpu} $<TARGET_FILE:vkmoe>
      ${CMAKE_SOURCE_DIR}/models/vkmoe-default.gguf)
    # Minutes for each GPU, so only with: ctest -C full -R pretended
    vkmoe_pretended_test(pretended_conformance.${gpu} ${CMAKE_SOURCE_DIR}/tests/compilers/pretended_conformance.sh ${gpu}
      $<TARGET_FILE:vkmoe-conformance> CONFIGURATIONS full)
  endforeach()
  # No hot kernel spills a register. With names alone: a validation layer that is older than cooperative matrices hides them.
  foreach(gpu amd-gfx1100 amd-navi21 amd-vega10 intel-tgl intel-dg2 intel-bmg adreno-660 adreno-740 adreno-x1 mali-g610)
    vkmoe_pretended_test(spills.${gpu} ${as_gpu} ${gpu} $<TARGET_FILE:compile_kernels> --hot --spills 0)
    set_property(TEST spills.${gpu} APPEND PROPERTY ENVIRONMENT VKMOE_VALIDATION=names)
  endforeach()
endif()

# Every fuzz target for a minute; skipped where there is no clang with libFuzzer. tests/fuzz/run.sh runs them longer.
add_test(NAME fuzz COMMAND ${CMAKE_SOURCE_DIR}/tests/fuzz/run.sh 60)
set_tests_properties(fuzz PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 3000 ENVIRONMENT "VKMOE_FUZZ_BUILD=${CMAKE_BINARY_DIR}/fuzz")
