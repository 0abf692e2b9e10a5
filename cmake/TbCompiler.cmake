# Language, warnings, hardening, sanitizers and ccache: one place for all targets.
set(CMAKE_CXX_STANDARD 23)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/bin")

include(CheckPIESupported)
check_pie_supported(LANGUAGES CXX)

add_library(tb_options INTERFACE)
target_compile_options(tb_options INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wnon-virtual-dtor -Wold-style-cast
  -Woverloaded-virtual -Wundef -fno-omit-frame-pointer)
if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  # TRY is a statement expression; clang 19 sees libstdc++ 12's std::expected as a C++23 feature it must be told of.
  target_compile_options(tb_options INTERFACE -Wno-gnu-statement-expression -Wno-missing-designated-field-initializers
    -Wthread-safety)
endif()
if(TB_WERROR)
  target_compile_options(tb_options INTERFACE -Werror)
endif()
if(CMAKE_BUILD_TYPE STREQUAL "Release")
  set(CMAKE_CXX_FLAGS_RELEASE "-O2 -g1")
  target_compile_definitions(tb_options INTERFACE _GLIBCXX_ASSERTIONS _FORTIFY_SOURCE=2)
  target_compile_options(tb_options INTERFACE -fstack-protector-strong -fcf-protection)
  target_link_options(tb_options INTERFACE LINKER:-z,relro,-z,now)
endif()
if(TB_SANITIZE)
  set(CMAKE_CXX_FLAGS_RELWITHDEBINFO "-O1 -gline-tables-only")  # a quarter less to compile than -O2 -g
endif()
if(TB_SANITIZE STREQUAL "asan")
  add_compile_options(-fsanitize=address,undefined -fno-sanitize-recover=all)
  add_link_options(-fsanitize=address,undefined)
elseif(TB_SANITIZE STREQUAL "tsan")
  add_compile_options(-fsanitize=thread)
  add_link_options(-fsanitize=thread)
endif()
if(TB_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()

find_program(TB_LLD NAMES ld.lld-19 ld.lld)
if(TB_LLD AND CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  add_link_options(--ld-path=${TB_LLD})
endif()
find_program(TB_CCACHE ccache)
if(TB_CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime ${TB_CCACHE})
  add_compile_options("$<$<CXX_COMPILER_ID:Clang>:SHELL:-Xclang -fno-pch-timestamp>")
endif()

# Tests are compiled for less than they would be as programs: a fifth of their time.
add_library(tb_quickly_compiled INTERFACE)
if(CMAKE_BUILD_TYPE STREQUAL "Release")
  target_compile_options(tb_quickly_compiled INTERFACE -g0 -O1)
endif()

# Everything is optimised for the load of the sentinel's proxy as scripts/profile.sh saw it: what runs often lies together and is
# inlined; a function that has changed since is compiled as if nobody had looked. The sentinel itself is optimised across its
# libraries, too, when it is linked; all others link the same objects as they are, which is quick (docs/decisions/0065).
option(TB_COUNT "count what runs, for scripts/profile.sh" OFF)
add_library(tb_link_optimised INTERFACE)
target_link_libraries(tb_link_optimised INTERFACE tb_options)
if(TB_LLD AND CMAKE_BUILD_TYPE STREQUAL "Release" AND CMAKE_CXX_COMPILER_ID STREQUAL "Clang"
   AND CMAKE_CXX_COMPILER_VERSION VERSION_GREATER_EQUAL 19)
  set(names_without_paths "SHELL:-mllvm -static-func-full-module-prefix=false")
  if(TB_COUNT)
    add_compile_options(-fprofile-generate -fprofile-update=atomic "${names_without_paths}")
    add_link_options(-fprofile-generate)
  else()
    set(counted "${CMAKE_CURRENT_LIST_DIR}/proxy.profdata")
    file(SHA256 "${counted}" digest)
    string(SUBSTRING "${digest}" 0 12 digest)
    set(profile "${CMAKE_BINARY_DIR}/profile-${digest}")  # another one is another flag: all is compiled anew
    configure_file("${counted}" "${profile}" COPYONLY)
    add_compile_options(-ffunction-sections -flto=thin -ffat-lto-objects "-fprofile-use=${profile}" "${names_without_paths}"
      -Wno-profile-instr-unprofiled -Wno-profile-instr-out-of-date -Wno-backend-plugin)
    add_link_options(LINKER:--gc-sections)
    target_compile_options(tb_quickly_compiled INTERFACE -fno-lto -fno-profile-use)
    target_link_options(tb_link_optimised INTERFACE LINKER:--fat-lto-objects
      "LINKER:--thinlto-cache-dir=${CMAKE_BINARY_DIR}/thinlto" LINKER:--thinlto-cache-policy=cache_size_bytes=1g)
  endif()
endif()
