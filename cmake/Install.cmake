# cmake --install: the C library with its header, what pkg-config and find_package need to find them.
# The programs install themselves where they are built. Component `capi` is enough to compile and link
# C programs.
include(CMakePackageConfigHelpers)

install(FILES ${CMAKE_SOURCE_DIR}/include/benchfs/benchfs.h
  DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/benchfs COMPONENT capi)
install(TARGETS libbenchfs EXPORT benchfs-targets
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT capi NAMELINK_COMPONENT capi)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/benchfs)
install(EXPORT benchfs-targets NAMESPACE benchfs:: DESTINATION ${package_dir})
configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/benchfs-config.cmake.in
  ${CMAKE_BINARY_DIR}/benchfs-config.cmake INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(${CMAKE_BINARY_DIR}/benchfs-config-version.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/benchfs-config.cmake
  ${CMAKE_BINARY_DIR}/benchfs-config-version.cmake
  DESTINATION ${package_dir})

# The install prefix may still change at `cmake --install --prefix`, so the file is written then.
install(CODE "
  set(PROJECT_VERSION \"${PROJECT_VERSION}\")
  set(PROJECT_DESCRIPTION \"${PROJECT_DESCRIPTION}\")
  cmake_path(ABSOLUTE_PATH CMAKE_INSTALL_PREFIX)
  cmake_path(APPEND BENCHFS_PC_LIBDIR \"\${CMAKE_INSTALL_PREFIX}\" \"${CMAKE_INSTALL_LIBDIR}\")
  cmake_path(APPEND BENCHFS_PC_INCLUDEDIR
    \"\${CMAKE_INSTALL_PREFIX}\" \"${CMAKE_INSTALL_INCLUDEDIR}\")
  configure_file(\"${CMAKE_CURRENT_LIST_DIR}/benchfs.pc.in\"
    \"${CMAKE_BINARY_DIR}/benchfs.pc\" @ONLY)" COMPONENT capi)
install(FILES ${CMAKE_BINARY_DIR}/benchfs.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig
  COMPONENT capi)
