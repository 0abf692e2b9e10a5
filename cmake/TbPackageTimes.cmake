# Run by CPack between installing and packing: every file gets the time of the changelog's newest entry, so that the same
# programs give the same package, byte by byte.
if(NOT DEFINED ENV{SOURCE_DATE_EPOCH})
  message(FATAL_ERROR "set SOURCE_DATE_EPOCH: scripts/packages.sh does")
endif()
execute_process(COMMAND find "${CPACK_TEMPORARY_DIRECTORY}" -exec touch --no-dereference --date "@$ENV{SOURCE_DATE_EPOCH}" {} +
  COMMAND_ERROR_IS_FATAL ANY)
