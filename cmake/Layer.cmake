# benchfs_layer(NAME SOURCES a.cc b.cc USES lower layers LIBS private foreign libraries
#               PRECOMPILE layer|json|rpc|commands|none)
#
# One static library a folder. It links what USES names and nothing else of ours, so an include or a
# call against the layer order fails to build or to link; tools/lint/layers.py checks the include
# graph against the same lines.
function(benchfs_layer name)
  cmake_parse_arguments(ARG "" "PRECOMPILE" "SOURCES;USES;LIBS;PUBLIC_LIBS" ${ARGN})
  if(NOT ARG_PRECOMPILE)
    set(ARG_PRECOMPILE layer)
  endif()
  if(ARG_SOURCES)
    add_library(benchfs_${name} STATIC ${ARG_SOURCES})
    set(scope PUBLIC)
    target_link_libraries(benchfs_${name} PRIVATE ${ARG_LIBS})
    benchfs_precompile(benchfs_${name} ${ARG_PRECOMPILE})
  else()
    add_library(benchfs_${name} INTERFACE)
    set(scope INTERFACE)
  endif()
  target_include_directories(benchfs_${name} ${scope} ${CMAKE_SOURCE_DIR}/src)
  target_link_libraries(benchfs_${name} ${scope} benchfs_flags ${ARG_PUBLIC_LIBS})
  foreach(layer IN LISTS ARG_USES)
    target_link_libraries(benchfs_${name} ${scope} benchfs_${layer})
  endforeach()
endfunction()

set(BENCHFS_TEST_ENV ${CMAKE_BINARY_DIR}/test_env.sh)
configure_file(${CMAKE_SOURCE_DIR}/cmake/test_env.sh.in ${BENCHFS_TEST_ENV} @ONLY)

# Everything that the tests of the labels unit and cluster run: what is worth the thread sanitizer, which
# sees one process. ./run test builds no more than this for it.
add_custom_target(thread_tests)

# Test programs list their cases when they are built, in ./run test beside the tests of another preset: it may take long.
set(BENCHFS_DISCOVERY_TIMEOUT 600)

# benchfs_test(LAYER a_test.cc … [USES more layers] [LABELS unit|cluster|system|long] [TRANSPORTS shm tcp node forwarded] [SINGLE_THREADED])
#
# One test program a layer; every case becomes a ctest test. TRANSPORTS registers the program once for
# each: shm (UCX over shared memory and tcp), tcp (UCX over tcp), node (through the node door), forwarded
# (through the door of a shard that forwards). NODE and FORWARDED are filters of GoogleTest's for the cases of the two. SINGLE_THREADED: nothing for the
# thread sanitizer.
function(benchfs_test layer)
  if(NOT BENCHFS_TESTS)
    return()
  endif()
  cmake_parse_arguments(ARG "SINGLE_THREADED" "NAME;TIMEOUT;NODE;FORWARDED" "USES;LABELS;LIBS;TRANSPORTS" ${ARGN})
  set(name ${layer}_test)
  if(ARG_NAME)
    set(name ${ARG_NAME})
  endif()
  if(NOT ARG_LABELS)
    set(ARG_LABELS unit)
  endif()
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 120)
  endif()
  add_executable(${name} ${ARG_UNPARSED_ARGUMENTS})
  if(BENCHFS_UNITY)
    set_target_properties(${name} PROPERTIES UNITY_BUILD ON)
  endif()
  # Test code is not hot, and compiles in half the time; what it tests is optimised as the preset says.
  target_compile_options(${name} PRIVATE -O0)
  if(layer MATCHES "^(rpc|server|client|capi|bench)$")
    benchfs_precompile(${name} rpc_test)
  else()
    benchfs_precompile(${name} test)
  endif()
  target_link_libraries(${name} PRIVATE benchfs_${layer} GTest::gtest GTest::gtest_main ${ARG_LIBS})
  foreach(other IN LISTS ARG_USES)
    target_link_libraries(${name} PRIVATE benchfs_${other})
  endforeach()
  if(ARG_LABELS MATCHES "^(unit|cluster)$" AND NOT ARG_SINGLE_THREADED)
    add_dependencies(thread_tests ${name})
  endif()
  # gtest_discover_tests cannot pass an environment of several variables; a wrapper can.
  set_target_properties(${name} PROPERTIES CROSSCOMPILING_EMULATOR "${BENCHFS_TEST_ENV}")
  # What may take long begins first, so that nothing is left that runs alone at the end.
  set(properties LABELS "${ARG_LABELS}" TIMEOUT ${ARG_TIMEOUT})
  if(ARG_TIMEOUT GREATER 120)
    list(APPEND properties COST ${ARG_TIMEOUT})
  endif()
  if(ARG_TRANSPORTS)
    foreach(transport IN LISTS ARG_TRANSPORTS)
      set(filter "*")
      if(transport STREQUAL node AND ARG_NODE)
        set(filter "${ARG_NODE}")
      elseif(transport STREQUAL "forwarded")
        set(filter "${ARG_FORWARDED}")
      endif()
      gtest_discover_tests(${name} TEST_PREFIX "${transport}." EXTRA_ARGS "--transport=${transport}"
        TEST_FILTER "${filter}" TEST_LIST ${name}_${transport} DISCOVERY_TIMEOUT ${BENCHFS_DISCOVERY_TIMEOUT}
        PROPERTIES ${properties})
    endforeach()
  else()
    gtest_discover_tests(${name} DISCOVERY_TIMEOUT ${BENCHFS_DISCOVERY_TIMEOUT}
      PROPERTIES ${properties})
  endif()
endfunction()
