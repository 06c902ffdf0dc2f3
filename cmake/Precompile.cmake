# Precompiled headers (BENCHFS_PRECOMPILE, set by the presets): parsing the standard library is most of compiling a
# file here. lint.includes checks that every file includes what it uses all the same.
#
# benchfs_precompile(TARGET KIND) gives a target the headers of its kind:
#   layer     the standard library
#   json      and nlohmann's
#   test      and GoogleTest, without optimisation, as tests are compiled in all presets
#   rpc       as layer, for layers that use rpc, and rpc itself
#   commands  as json, for programs above the client
#   rpc_test  as test, for tests of the layers that use rpc, and of rpc itself
#   none      nothing, for targets with options of their own
#
# The sanitizers' builds take headers of ours for the last three: parsing those is half of the rest. Other builds do not,
# so that a file that misses one of them fails to compile, and the change of a header compiles what includes it only.
set(BENCHFS_PRECOMPILE_OURS "")
if(BENCHFS_SANITIZE)
  set(BENCHFS_PRECOMPILE_OURS ON)
endif()
function(benchfs_precompile target kind)
  if(NOT BENCHFS_PRECOMPILE OR kind STREQUAL "none")
    return()
  endif()
  if(NOT BENCHFS_PRECOMPILE_OURS)
    set(general_rpc layer)
    set(general_commands json)
    set(general_rpc_test test)
    if(general_${kind})
      set(kind ${general_${kind}})
    endif()
  endif()
  # Programs would be compiled with -fPIE, and then the headers do not fit.
  target_compile_options(${target} PRIVATE -fPIC ${BENCHFS_PRECOMPILE_OPTIONS_${kind}})
  target_precompile_headers(${target} REUSE_FROM benchfs_pch_${kind})
endfunction()

function(benchfs_precompiled_headers kind)
  cmake_parse_arguments(ARG "" "" "LIBS;HEADERS" ${ARGN})
  add_library(benchfs_pch_${kind} OBJECT ${CMAKE_SOURCE_DIR}/cmake/precompiled.cc)
  target_compile_options(benchfs_pch_${kind} PRIVATE ${BENCHFS_PRECOMPILE_OPTIONS_${kind}})
  target_include_directories(benchfs_pch_${kind} PRIVATE ${CMAKE_SOURCE_DIR}/src)
  target_link_libraries(benchfs_pch_${kind} PRIVATE benchfs_flags fmt::fmt Threads::Threads ${ARG_LIBS})
  target_precompile_headers(benchfs_pch_${kind} PRIVATE
    ${CMAKE_SOURCE_DIR}/cmake/precompiled.h ${ARG_HEADERS})
endfunction()

set(BENCHFS_PRECOMPILE_OPTIONS_test -O0)
set(BENCHFS_PRECOMPILE_OPTIONS_rpc_test -O0)
# What commands and benchmarks do is not hot under a sanitizer, and compiles in two thirds of the time.
if(BENCHFS_SANITIZE)
  set(BENCHFS_PRECOMPILE_OPTIONS_json -O0)
  set(BENCHFS_PRECOMPILE_OPTIONS_commands -O0)
endif()
if(BENCHFS_PRECOMPILE)
  benchfs_precompiled_headers(layer)
  benchfs_precompiled_headers(json HEADERS <nlohmann/json.hpp>)
  if(BENCHFS_TESTS)
    benchfs_precompiled_headers(test LIBS GTest::gtest
      HEADERS <gtest/gtest.h> <fstream> <nlohmann/json.hpp>)
  endif()
  if(BENCHFS_PRECOMPILE_OURS)
    set(ours ${CMAKE_SOURCE_DIR}/src)
    benchfs_precompiled_headers(rpc LIBS ucx::ucp ucx::ucs
      HEADERS ${ours}/rpc/connection_pool.h ${ours}/rpc/server.h ${ours}/meta/meta_store.h ${ours}/server/peers.h)
    benchfs_precompiled_headers(commands LIBS ucx::ucp ucx::ucs
      HEADERS <nlohmann/json.hpp> ${ours}/client/client.h)
    if(BENCHFS_TESTS)
      benchfs_precompiled_headers(rpc_test LIBS GTest::gtest ucx::ucp ucx::ucs
        HEADERS <gtest/gtest.h> <fstream> <nlohmann/json.hpp>
        ${ours}/rpc/testing/rpc_fixture.h ${ours}/client/client.h ${ours}/server/shard.h)
    endif()
  endif()
endif()
