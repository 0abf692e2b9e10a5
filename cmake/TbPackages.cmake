# Debian packages: `scripts/packages.sh` builds, then CPack packs what is installed here by component.
#
#   tools           trustbridge                 the command line, manual pages, completions
#   control-plane   trustbridge-control-plane   program, unit, user, settings
#   sentinel        trustbridge-sentinel        program, unit template, users, an example of settings
#   library         libtrustbridge-dev          headers, static libraries, CMake package
#
# Of these rules only the library's is part of a plain `cmake --install`: the others write below /etc and /lib.
#
# Nothing here runs while a package is installed but deploy/debian/*: what they do, and what not, is in docs/systemd.md.
if(NOT TARGET trustbridge OR NOT TARGET trustbridge-control-plane OR NOT TARGET trustbridge-sentinel)
  return()
endif()

file(STRINGS "${CMAKE_SOURCE_DIR}/deploy/debian/changelog" newest LIMIT_COUNT 1)
string(REGEX REPLACE "^trustbridge \\((.+)-([0-9]+)\\).*" "\\1;\\2" newest "${newest}")
list(GET newest 0 deb_version)
list(GET newest 1 deb_revision)
if(NOT deb_version STREQUAL PROJECT_VERSION)
  message(FATAL_ERROR "deploy/debian/changelog begins with ${deb_version}, the project is ${PROJECT_VERSION}")
endif()

# What the packages have beside programs, made by their own words: not a part of `all`.
set(made "${CMAKE_BINARY_DIR}/package")
add_custom_target(package_files
  COMMAND "${CMAKE_SOURCE_DIR}/deploy/debian/make-files.sh" "${CMAKE_SOURCE_DIR}" "$<TARGET_FILE_DIR:trustbridge>" "${made}"
  DEPENDS trustbridge trustbridge-control-plane trustbridge-sentinel VERBATIM)

set(units "${CMAKE_SOURCE_DIR}/deploy/systemd")
set(of_tools trustbridge)
set(of_control-plane trustbridge-control-plane)
set(of_sentinel trustbridge-sentinel)
set(of_library libtrustbridge-dev)
foreach(component tools control-plane sentinel library)
  set(package ${of_${component}})
  if(NOT component STREQUAL library)
    install(TARGETS ${package} RUNTIME DESTINATION bin COMPONENT ${component} EXCLUDE_FROM_ALL)
  endif()
  install(FILES "${CMAKE_SOURCE_DIR}/deploy/debian/copyright" "${made}/changelog.Debian.gz"
    DESTINATION share/doc/${package} COMPONENT ${component} EXCLUDE_FROM_ALL OPTIONAL)
endforeach()
install(DIRECTORY "${made}/man1/" DESTINATION share/man/man1 COMPONENT tools EXCLUDE_FROM_ALL)
install(FILES "${made}/completion.bash" DESTINATION share/bash-completion/completions RENAME trustbridge COMPONENT tools EXCLUDE_FROM_ALL)
install(FILES "${made}/completion.zsh" DESTINATION share/zsh/vendor-completions RENAME _trustbridge COMPONENT tools EXCLUDE_FROM_ALL)
install(FILES "${made}/completion.fish" DESTINATION share/fish/vendor_completions.d RENAME trustbridge.fish COMPONENT tools EXCLUDE_FROM_ALL)

install(FILES "${made}/man8/trustbridge-control-plane.8.gz" DESTINATION share/man/man8 COMPONENT control-plane EXCLUDE_FROM_ALL)
install(FILES "${units}/trustbridge-control-plane.service" DESTINATION /lib/systemd/system COMPONENT control-plane EXCLUDE_FROM_ALL)
install(FILES "${units}/trustbridge-control-plane.sysusers.conf" DESTINATION lib/sysusers.d
  RENAME trustbridge-control-plane.conf COMPONENT control-plane EXCLUDE_FROM_ALL)
install(FILES "${units}/control-plane.toml" DESTINATION /etc/trustbridge COMPONENT control-plane EXCLUDE_FROM_ALL)

install(FILES "${made}/man8/trustbridge-sentinel.8.gz" DESTINATION share/man/man8 COMPONENT sentinel EXCLUDE_FROM_ALL)
install(FILES "${units}/trustbridge-sentinel@.service" DESTINATION /lib/systemd/system COMPONENT sentinel EXCLUDE_FROM_ALL)
install(FILES "${units}/trustbridge-sentinel.sysusers.conf" DESTINATION lib/sysusers.d RENAME trustbridge-sentinel.conf COMPONENT sentinel EXCLUDE_FROM_ALL)
install(FILES "${units}/trustbridge-sentinel.tmpfiles.conf" DESTINATION lib/tmpfiles.d RENAME trustbridge-sentinel.conf COMPONENT sentinel EXCLUDE_FROM_ALL)
install(FILES "${units}/sentinel.toml.example" "${units}/sentinel-gpu.conf"
  DESTINATION share/doc/trustbridge-sentinel/examples COMPONENT sentinel EXCLUDE_FROM_ALL)
install(DIRECTORY DESTINATION /etc/trustbridge/sentinel DIRECTORY_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE COMPONENT sentinel EXCLUDE_FROM_ALL)

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME trustbridge)
set(CPACK_PACKAGE_VENDOR TrustBridge)
set(CPACK_PACKAGE_CONTACT "TrustBridge <packages@trustbridge.invalid>")
set(CPACK_PACKAGE_VERSION ${deb_version})
set(CPACK_DEBIAN_PACKAGE_RELEASE ${deb_revision})
set(CPACK_INSTALL_PREFIX /usr)
set(CPACK_SET_DESTDIR ON)
set(CPACK_STRIP_FILES ON)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS
  OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
set(CPACK_COMPONENTS_ALL tools control-plane sentinel library)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_COMPONENTS_GROUPING IGNORE)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_COMPRESSION_TYPE xz)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_PRE_BUILD_SCRIPTS "${CMAKE_SOURCE_DIR}/cmake/TbPackageTimes.cmake")

set(scripts "${CMAKE_SOURCE_DIR}/deploy/debian")
foreach(component tools control-plane sentinel library)
  string(TOUPPER "${component}" upper)
  set(CPACK_DEBIAN_${upper}_PACKAGE_NAME ${of_${component}})
  set(CPACK_DEBIAN_${upper}_PACKAGE_SECTION net)
endforeach()
set(CPACK_COMPONENT_TOOLS_DESCRIPTION "encrypt, license and ship model weights
The provider's command line: encrypts models, uploads and registers them,
makes contracts and ends them, reads usage and audit logs.")
set(CPACK_DEBIAN_TOOLS_PACKAGE_RECOMMENDS fuse3)
set(CPACK_COMPONENT_CONTROL-PLANE_DESCRIPTION "control plane of licensed model weights
Keeps assets, contracts and wrapped keys, and releases a key to a sentinel
only under a contract that is in force. It is not started before it is
enabled.")
set(CPACK_DEBIAN_CONTROL-PLANE_PACKAGE_DEPENDS "systemd (>= 252)")
set(CPACK_DEBIAN_CONTROL-PLANE_PACKAGE_SUGGESTS "postgresql, trustbridge")
set(CPACK_COMPONENT_SENTINEL_DESCRIPTION "runs a licensed model and keeps its weights in memory
Proves to a control plane that a contract is in force, downloads and decrypts
the model into memory, starts the model server confined, lets requests
through, and takes all away when the contract ends.")
set(CPACK_DEBIAN_SENTINEL_PACKAGE_DEPENDS "systemd (>= 252)")
set(CPACK_DEBIAN_SENTINEL_PACKAGE_RECOMMENDS fuse3)
set(CPACK_COMPONENT_LIBRARY_DESCRIPTION "library of the encrypted format of model weights
Headers, static libraries and a CMake package to read and write assets that
trustbridge encrypts.")
set(CPACK_DEBIAN_LIBRARY_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_LIBRARY_PACKAGE_DEPENDS "libssl-dev, libfmt-dev, libarchive-dev, libipsec-mb-dev")
set(CPACK_DEBIAN_LIBRARY_PACKAGE_SHLIBDEPS OFF)
set(CPACK_DEBIAN_CONTROL-PLANE_PACKAGE_CONTROL_EXTRA
  "${scripts}/control-plane/postinst;${scripts}/control-plane/prerm;${scripts}/control-plane/postrm;${scripts}/control-plane/conffiles")
set(CPACK_DEBIAN_SENTINEL_PACKAGE_CONTROL_EXTRA
  "${scripts}/sentinel/postinst;${scripts}/sentinel/prerm;${scripts}/sentinel/postrm")
include(CPack)
