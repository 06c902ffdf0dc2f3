# benchfs_layer(NAME SOURCES a.cc b.cc USES lower layers LIBS private foreign libraries)
#
# One static library a folder. It links what USES names and nothing else of ours, so an include or a
# call against the layer order fails to build or to link; tools/lint/layers.py checks the include
# graph against the same lines.
function(benchfs_layer name)
  cmake_parse_arguments(ARG "" "" "SOURCES;USES;LIBS;PUBLIC_LIBS" ${ARGN})
  if(ARG_SOURCES)
    add_library(benchfs_${name} STATIC ${ARG_SOURCES})
    set(scope PUBLIC)
    target_link_libraries(benchfs_${name} PRIVATE ${ARG_LIBS})
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

# benchfs_test(LAYER a_test.cc … [USES more layers] [LABELS unit|cluster|system|slow] [TRANSPORTS])
#
# One test program a layer; every case becomes a ctest test. TRANSPORTS registers the program twice:
# over shared memory + tcp and over tcp alone.
function(benchfs_test layer)
  if(NOT BENCHFS_TESTS)
    return()
  endif()
  cmake_parse_arguments(ARG "TRANSPORTS" "NAME;TIMEOUT" "USES;LABELS;LIBS" ${ARGN})
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
  target_link_libraries(${name} PRIVATE benchfs_${layer} GTest::gtest GTest::gtest_main ${ARG_LIBS})
  foreach(other IN LISTS ARG_USES)
    target_link_libraries(${name} PRIVATE benchfs_${other})
  endforeach()
  set(common "UCX_HANDLE_ERRORS=none" "UCX_ERROR_SIGNALS=" "UCX_WARN_UNUSED_ENV_VARS=n"
    "ASAN_OPTIONS=detect_stack_use_after_return=1:abort_on_error=0"
    "UBSAN_OPTIONS=print_stacktrace=1"
    "TSAN_OPTIONS=suppressions=${CMAKE_SOURCE_DIR}/tests/support/tsan.supp:halt_on_error=0:exitcode=66")
  if(BENCHFS_SANITIZE)
    # UCX patches mmap and friends in place, which crashes beside the sanitizers' own interceptors.
    list(APPEND common "UCX_MEM_EVENTS=n")
  endif()
  if(ARG_TRANSPORTS)
    gtest_discover_tests(${name} TEST_PREFIX "shm." DISCOVERY_TIMEOUT 60
      PROPERTIES LABELS "${ARG_LABELS}" TIMEOUT ${ARG_TIMEOUT}
      ENVIRONMENT "${common};UCX_TLS=self,posix,sysv,cma,tcp")
    gtest_discover_tests(${name} TEST_PREFIX "tcp." DISCOVERY_TIMEOUT 60
      PROPERTIES LABELS "${ARG_LABELS}" TIMEOUT ${ARG_TIMEOUT}
      ENVIRONMENT "${common};UCX_TLS=self,tcp")
  else()
    gtest_discover_tests(${name} DISCOVERY_TIMEOUT 60
      PROPERTIES LABELS "${ARG_LABELS}" TIMEOUT ${ARG_TIMEOUT} ENVIRONMENT "${common}")
  endif()
endfunction()
