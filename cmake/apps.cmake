# One program per folder of apps/; what they share lies in apps/ itself.
file(GLOB app_sources CONFIGURE_DEPENDS apps/vkmoe/*.cpp)
if(app_sources)
  add_executable(vkmoe ${app_sources})
  target_link_libraries(vkmoe PRIVATE vkmoe_api)
  vkmoe_precompile(vkmoe)
  target_compile_definitions(vkmoe PRIVATE VKMOE_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
  set_target_properties(vkmoe PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})
endif()

# The library for programs in other languages: libvkmoe.so with the functions of vkmoe.h and nothing else.
add_library(vkmoe_shared SHARED $<TARGET_OBJECTS:vkmoe_api>)
target_link_libraries(vkmoe_shared PRIVATE vkmoe_moe)
target_include_directories(vkmoe_shared INTERFACE include)
set_target_properties(vkmoe_shared PROPERTIES OUTPUT_NAME vkmoe LINKER_LANGUAGE CXX LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})
if(NOT WIN32 AND NOT APPLE AND NOT VKMOE_SANITIZE)
  target_link_options(vkmoe_shared PRIVATE -Wl,--version-script=${CMAKE_CURRENT_LIST_DIR}/exports.map -Wl,--no-undefined)
endif()
