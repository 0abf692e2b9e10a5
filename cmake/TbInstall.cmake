# The format library for others: headers, static libraries and a CMake package.
#
#   cmake --install BUILD --prefix PREFIX --component library
#   find_package(TrustBridge REQUIRED)   target_link_libraries(x PRIVATE TrustBridge::asset)
#
# Headers go to include/trustbridge, so that "tbenc/header.h" is spelled as it is in here. The programs are not part of
# this component.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(config_dir "${CMAKE_INSTALL_LIBDIR}/cmake/TrustBridge")
install(TARGETS tb_base tb_tbenc tb_asset EXPORT TrustBridgeTargets
  ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}" COMPONENT library)
install(CODE "  # whoever links them has another compiler
  file(GLOB archives \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_LIBDIR}/libtb_*.a\")
  foreach(archive IN LISTS archives)
    execute_process(COMMAND \"${CMAKE_OBJCOPY}\" --enable-deterministic-archives --remove-section=.llvm.lto \"\${archive}\" COMMAND_ERROR_IS_FATAL ANY)
  endforeach()" COMPONENT library)
foreach(folder base tbenc asset)
  install(DIRECTORY "${CMAKE_SOURCE_DIR}/src/${folder}" DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}/trustbridge"
    COMPONENT library FILES_MATCHING PATTERN "*.h" PATTERN "test_*.h" EXCLUDE)
endforeach()
install(EXPORT TrustBridgeTargets NAMESPACE TrustBridge:: DESTINATION "${config_dir}" COMPONENT library)
configure_package_config_file("${CMAKE_CURRENT_LIST_DIR}/TrustBridgeConfig.cmake.in"
  "${CMAKE_BINARY_DIR}/TrustBridgeConfig.cmake" INSTALL_DESTINATION "${config_dir}")
write_basic_package_version_file("${CMAKE_BINARY_DIR}/TrustBridgeConfigVersion.cmake" COMPATIBILITY SameMinorVersion)
install(FILES "${CMAKE_BINARY_DIR}/TrustBridgeConfig.cmake" "${CMAKE_BINARY_DIR}/TrustBridgeConfigVersion.cmake"
  DESTINATION "${config_dir}" COMPONENT library)
