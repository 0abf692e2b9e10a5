# tb_folder(NAME [LINK lib...] [TEST_PCH header...] [PROGRAM exe-name])
#
# One folder of src/ is one static library `tb_NAME` of its *.cc files, one test program `NAME_test` of its *_test.cc
# files, and, with PROGRAM, one executable made of main.cc. LINK names the lower folders and libraries it uses.
#
# The tests of floors 0 to 4 carry the label `sanitized` and hang on the target of that name: what the asan and tsan
# presets build.
set(TB_SANITIZED_FOLDERS base tbenc async obs api jose tlog sql asset http store blob attest meter oci oms azure hydrate deliver)
add_custom_target(sanitized)

# What nearly every file includes is compiled once for all folders, and once for all their tests.
set(TB_HEADERS <algorithm> <array> <cstdint> <cstring> <expected> <functional> <map> <memory> <mutex> <optional> <span> <string>
    <string_view> <thread> <utility> <variant> <vector> <fmt/format.h>)
foreach(header bytes clock crypto fs json result)
  list(APPEND TB_HEADERS "${CMAKE_SOURCE_DIR}/src/base/${header}.h")
endforeach()
set(TB_TEST_HEADERS <filesystem> <gtest/gtest.h> <gmock/gmock.h>)

function(tb_precompile target)
  set(empty "${CMAKE_BINARY_DIR}/${target}.cc")
  if(NOT EXISTS "${empty}")
    file(WRITE "${empty}" "")
  endif()
  add_library(${target} OBJECT "${empty}")
  target_include_directories(${target} PRIVATE "${CMAKE_SOURCE_DIR}/src")
  target_link_libraries(${target} PRIVATE tb_options fmt::fmt)
  target_precompile_headers(${target} PRIVATE ${ARGN})
endfunction()
tb_precompile(tb_headers ${TB_HEADERS})
if(TB_TESTS)
  tb_precompile(tb_test_headers ${TB_HEADERS} ${TB_TEST_HEADERS})
  target_link_libraries(tb_test_headers PRIVATE tb_quickly_compiled GTest::gmock)
  set_target_properties(tb_test_headers PROPERTIES POSITION_INDEPENDENT_CODE OFF)
  target_compile_options(tb_test_headers PRIVATE -fPIE)  # as programs are
endif()

# tb_compile_as_test(TARGET [header...]): for less than a program is, with the headers of all tests; with others, too, they
# are compiled anew for it.
function(tb_compile_as_test target)
  target_link_libraries(${target} PRIVATE tb_options tb_quickly_compiled)
  if(ARGN)
    target_precompile_headers(${target} PRIVATE ${TB_HEADERS} ${TB_TEST_HEADERS} ${ARGN})
  else()
    target_precompile_headers(${target} REUSE_FROM tb_test_headers)
  endif()
endfunction()

function(tb_folder name)
  cmake_parse_arguments(arg "" "PROGRAM" "LINK;TEST_LINK;TEST_PCH" ${ARGN})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/*.cc")
  set(tests ${sources})
  list(FILTER tests INCLUDE REGEX "_test\\.cc$")
  list(FILTER sources EXCLUDE REGEX "(_test|/main)\\.cc$")

  if(NOT sources)  # a folder of headers only still is a target
    file(WRITE "${CMAKE_CURRENT_BINARY_DIR}/headers_only.cc" "")
    set(sources "${CMAKE_CURRENT_BINARY_DIR}/headers_only.cc")
  endif()

  set(lib tb_${name})
  add_library(${lib} STATIC ${sources})
  add_library(trustbridge::${name} ALIAS ${lib})
  set_target_properties(${lib} PROPERTIES EXPORT_NAME ${name})
  target_include_directories(${lib} PUBLIC "$<BUILD_INTERFACE:${CMAKE_SOURCE_DIR}/src>" "$<INSTALL_INTERFACE:include/trustbridge>")
  target_compile_features(${lib} PUBLIC cxx_std_23)
  target_link_libraries(${lib} PUBLIC ${arg_LINK} PRIVATE "$<BUILD_INTERFACE:tb_options>")
  target_precompile_headers(${lib} REUSE_FROM tb_headers)

  if(arg_PROGRAM AND EXISTS "${CMAKE_CURRENT_SOURCE_DIR}/main.cc")
    add_executable(${arg_PROGRAM} main.cc)
    target_link_libraries(${arg_PROGRAM} PRIVATE ${lib} tb_options)
    target_compile_definitions(${arg_PROGRAM} PRIVATE TB_VERSION="${PROJECT_VERSION}")
    # Libraries of its own beside it, where an image or a package brings them (src/oci/program.h); the old tag holds for the
    # libraries' own libraries, too.
    set_target_properties(${arg_PROGRAM} PROPERTIES BUILD_WITH_INSTALL_RPATH ON INSTALL_RPATH "$ORIGIN/../lib/trustbridge")
    target_link_options(${arg_PROGRAM} PRIVATE LINKER:--disable-new-dtags)
  endif()

  if(TB_TESTS AND tests)
    add_executable(${name}_test ${tests})
    target_link_libraries(${name}_test PRIVATE ${lib} ${arg_TEST_LINK} GTest::gmock GTest::gtest_main)
    target_compile_definitions(${name}_test PRIVATE TB_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
    tb_compile_as_test(${name}_test ${arg_TEST_PCH})
    add_test(NAME ${name} COMMAND ${name}_test)
    set_tests_properties(${name} PROPERTIES LABELS unit TIMEOUT 300)
    if(name IN_LIST TB_SANITIZED_FOLDERS)
      set_tests_properties(${name} PROPERTIES LABELS "unit;sanitized")
      add_dependencies(sanitized ${name}_test)
    endif()
  endif()
endfunction()
