# Every shaders/*.comp becomes SPIR-V, is checked by spirv-val and embedded with its reflection (tools/embed_kernels.cpp).
# A kernel that reads weights (it includes quant/format.glsl, itself or by lib/*matmul.glsl) is compiled once per weight format, as
# NAME_FORMAT (with INT8 per format of integers, with HALVES per format of at most fp16's bits), and each kernel that has a variant
# for TEXELS once more, as NAME_texels or NAME_texels_FORMAT; for STORAGE16 where the format has one, too, as NAME_storage16_FORMAT.
find_program(GLSLANG glslangValidator REQUIRED)
find_program(SPIRV_VAL spirv-val REQUIRED)
find_program(SPIRV_OPT spirv-opt REQUIRED)
if(NOT DEFINED VKMOE_FORMATS)  # tools/mutation builds fewer
  set(VKMOE_FORMATS f32 f16 bf16 q8_0 q4_0 q4_1 q5_0 q5_1 q2_k q3_k q4_k q5_k q6_k iq4_nl iq4_xs mxfp4 nvfp4 tq1_0 tq2_0
      iq1_s iq1_m iq2_xxs iq2_xs iq2_s iq3_xxs iq3_s f8_e4m3)
endif()

find_path(SPIRV_CROSS_INCLUDE spirv_cross_c.h PATH_SUFFIXES spirv_cross REQUIRED)
find_library(SPIRV_CROSS_LIBRARY spirv-cross-c-shared REQUIRED)
add_executable(embed_kernels tools/embed_kernels.cpp)
target_include_directories(embed_kernels PRIVATE ${SPIRV_CROSS_INCLUDE})
target_link_libraries(embed_kernels PRIVATE ${SPIRV_CROSS_LIBRARY})

file(GLOB kernel_sources CONFIGURE_DEPENDS shaders/*.comp)
set(kernel_binaries)
file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/kernels)

function(vkmoe_compile_kernel source name)
  set(output ${CMAKE_BINARY_DIR}/kernels/${name}.spv)
  add_custom_command(OUTPUT ${output}
    COMMAND ${GLSLANG} --quiet --target-env vulkan1.1 -g0 -I${CMAKE_SOURCE_DIR}/shaders ${ARGN} --depfile ${output}.d
            -o ${output} ${source}
    COMMAND ${CMAKE_COMMAND} -E rename ${output} ${output}.raw
    COMMAND ${SPIRV_OPT} --target-env=vulkan1.1 --preserve-bindings --preserve-spec-constants -O
            ${output}.raw -o ${output}
    COMMAND ${SPIRV_VAL} --target-env vulkan1.1 ${output}
    DEPENDS ${source} DEPFILE ${output}.d
    COMMENT "kernel ${name}" VERBATIM)
  set(kernel_binaries ${kernel_binaries} ${output} PARENT_SCOPE)
endfunction()

foreach(source ${kernel_sources})
  get_filename_component(stem ${source} NAME_WE)
  file(STRINGS ${source} reads_weights REGEX "#include \"(quant/format|lib/matmul|lib/tall_matmul).glsl\"")
  file(STRINGS ${source} reads_integers REGEX "#define INT8$")
  file(STRINGS ${source} reads_halves REGEX "#define HALVES$")
  file(STRINGS ${source} has_texels_variant REGEX "#ifdef TEXELS")
  file(STRINGS ${source} has_storage16_variant REGEX "#ifdef STORAGE16")
  if(reads_weights)
    foreach(format ${VKMOE_FORMATS})
      file(STRINGS shaders/quant/${format}.glsl has_integers REGEX "#define INT8_SCALES")
      file(STRINGS shaders/quant/${format}.glsl has_wide_values REGEX "#define WIDE_VALUES")
      file(STRINGS shaders/quant/${format}.glsl reads_storage16 REGEX "#ifdef STORAGE16")
      if((reads_integers AND NOT has_integers) OR (reads_halves AND has_wide_values))
        continue()
      endif()
      string(TOUPPER ${format} upper)
      vkmoe_compile_kernel(${source} ${stem}_${format} -DFORMAT=FORMAT_${upper})
      if(has_texels_variant)
        vkmoe_compile_kernel(${source} ${stem}_texels_${format} -DFORMAT=FORMAT_${upper} -DTEXELS)
      endif()
      if(has_storage16_variant AND reads_storage16)
        vkmoe_compile_kernel(${source} ${stem}_storage16_${format} -DFORMAT=FORMAT_${upper} -DSTORAGE16)
      endif()
    endforeach()
  else()
    vkmoe_compile_kernel(${source} ${stem})
    if(has_texels_variant)
      vkmoe_compile_kernel(${source} ${stem}_texels -DTEXELS)
    endif()
    if(has_storage16_variant)
      vkmoe_compile_kernel(${source} ${stem}_storage16 -DSTORAGE16)
    endif()
  endif()
endforeach()

add_custom_command(OUTPUT ${CMAKE_BINARY_DIR}/embedded_kernels.cpp
  COMMAND embed_kernels ${CMAKE_BINARY_DIR}/embedded_kernels.cpp ${kernel_binaries}
  DEPENDS embed_kernels ${kernel_binaries} COMMENT "embedding kernels" VERBATIM)
add_library(vkmoe_kernels STATIC ${CMAKE_BINARY_DIR}/embedded_kernels.cpp)
target_include_directories(vkmoe_kernels PRIVATE src include)

# Kernels of the runtime's own tests, as a second list: const std::vector<KernelBinary>& test_kernels().
set(kernel_binaries)
file(GLOB test_kernel_sources CONFIGURE_DEPENDS tests/runtime/*.comp)
foreach(source ${test_kernel_sources})
  get_filename_component(stem ${source} NAME_WE)
  vkmoe_compile_kernel(${source} ${stem})
endforeach()
add_custom_command(OUTPUT ${CMAKE_BINARY_DIR}/test_kernels.cpp
  COMMAND embed_kernels --function test_kernels ${CMAKE_BINARY_DIR}/test_kernels.cpp ${kernel_binaries}
  DEPENDS embed_kernels ${kernel_binaries} COMMENT "embedding test kernels" VERBATIM)
add_library(vkmoe_test_kernels STATIC EXCLUDE_FROM_ALL ${CMAKE_BINARY_DIR}/test_kernels.cpp)
target_include_directories(vkmoe_test_kernels PRIVATE src include)

# Part of the name of the pipeline cache's file.
set_source_files_properties(src/runtime/pipeline_cache.cpp PROPERTIES
  COMPILE_DEFINITIONS VKMOE_VERSION="${PROJECT_VERSION}")
