# Precompiled headers (BENCHFS_PRECOMPILE, set by the presets): parsing the standard library is most of compiling a
# file here. lint.includes checks that every file includes what it uses all the same.
#
# benchfs_precompile(TARGET KIND) gives a target the headers of its kind:
#   layer  the standard library
#   json   and nlohmann's
#   test   and GoogleTest, without optimisation, as tests are compiled in all presets
#   none   nothing, for targets with options of their own
function(benchfs_precompile target kind)
  if(NOT BENCHFS_PRECOMPILE OR kind STREQUAL "none")
    return()
  endif()
  # Programs would be compiled with -fPIE, and then the headers do not fit.
  target_compile_options(${target} PRIVATE -fPIC ${BENCHFS_PRECOMPILE_OPTIONS_${kind}})
  target_precompile_headers(${target} REUSE_FROM benchfs_pch_${kind})
endfunction()

function(benchfs_precompiled_headers kind)
  cmake_parse_arguments(ARG "" "" "LIBS;HEADERS" ${ARGN})
  add_library(benchfs_pch_${kind} OBJECT ${CMAKE_SOURCE_DIR}/cmake/precompiled.cc)
  target_compile_options(benchfs_pch_${kind} PRIVATE ${BENCHFS_PRECOMPILE_OPTIONS_${kind}})
  target_link_libraries(benchfs_pch_${kind} PRIVATE benchfs_flags fmt::fmt Threads::Threads ${ARG_LIBS})
  target_precompile_headers(benchfs_pch_${kind} PRIVATE
    ${CMAKE_SOURCE_DIR}/cmake/precompiled.h ${ARG_HEADERS})
endfunction()

set(BENCHFS_PRECOMPILE_OPTIONS_test -O0)
if(BENCHFS_PRECOMPILE)
  benchfs_precompiled_headers(layer)
  benchfs_precompiled_headers(json HEADERS <nlohmann/json.hpp>)
  if(BENCHFS_TESTS)
    benchfs_precompiled_headers(test LIBS GTest::gtest
      HEADERS <gtest/gtest.h> <fstream> <nlohmann/json.hpp>)
  endif()
endif()
