# tb_embed(OUT DIRECTORY): a C++ file that holds every file under DIRECTORY as a raw string, sorted by path, as
# `const std::array<EmbeddedFile, N> kFiles` for the .cc that includes it. Files are read at configure time; a change
# runs CMake again.
function(tb_embed out directory)
  file(GLOB_RECURSE files CONFIGURE_DEPENDS RELATIVE "${directory}" "${directory}/*")
  list(FILTER files EXCLUDE REGEX "(^|/)(\\.|__pycache__)|~$")  # what editors and interpreters leave
  list(SORT files)
  set(text "constexpr auto kFiles = std::to_array<EmbeddedFile>({\n")
  foreach(file IN LISTS files)
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${directory}/${file}")
    file(READ "${directory}/${file}" content)
    string(APPEND text "    {\"${file}\", R\"tb_embed(${content})tb_embed\"},\n")
  endforeach()
  string(APPEND text "});\n")
  file(CONFIGURE OUTPUT "${out}" CONTENT "@text@" @ONLY)
endfunction()
