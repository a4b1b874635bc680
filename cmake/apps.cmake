# One program per folder of apps/; what they share lies in apps/ itself.
file(GLOB app_sources CONFIGURE_DEPENDS apps/vkmoe/*.cpp)
if(app_sources)
  add_executable(vkmoe ${app_sources})
  target_link_libraries(vkmoe PRIVATE vkmoe_api)
  target_compile_definitions(vkmoe PRIVATE VKMOE_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
  set_target_properties(vkmoe PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})
endif()
