# cmake --install build --prefix P, relocatable: everything finds the rest relative to itself, so P may be moved afterwards.
#   bin/moescope                       lib/libmoescope-record.so   what record loads into programs
#   lib/libmoescope.so.N, include/, lib/pkgconfig, lib/cmake       the C API, for programs that embed it
#   lib/moescope/                      llama.cpp's libraries, which run and profile use
#   share/                             man pages, completions, the demo model, the viewer (Viewer.cmake), documents

install(TARGETS moescope RUNTIME DESTINATION bin)
install(TARGETS moescope-record LIBRARY DESTINATION lib)
install(TARGETS moescope-embed EXPORT moescope LIBRARY DESTINATION lib)
install(FILES include/moescope/moescope.h DESTINATION include/moescope)

include(CMakePackageConfigHelpers)
set(package_folder lib/cmake/moescope)
install(EXPORT moescope NAMESPACE moescope:: FILE moescope-config.cmake DESTINATION ${package_folder})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/moescope-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/moescope-config-version.cmake DESTINATION ${package_folder})
configure_file(cmake/moescope.pc.in ${PROJECT_BINARY_DIR}/moescope.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/moescope.pc DESTINATION lib/pkgconfig)

# llama.cpp: the libraries under the names that they are loaded by, each finding the others beside itself.
install(CODE "set(from \"${LLAMA_LIBRARY_DIR}\")")
install(SCRIPT cmake/InstallLlama.cmake)

# The tool that was just installed writes its own pages.
install(CODE [[
    execute_process(COMMAND $ENV{DESTDIR}${CMAKE_INSTALL_PREFIX}/bin/moescope help
                            --write-pages $ENV{DESTDIR}${CMAKE_INSTALL_PREFIX}/share COMMAND_ERROR_IS_FATAL ANY)
]])
install(FILES models/demo.gguf models/prompts.jsonl DESTINATION share/moescope)
install(FILES ${PROJECT_BINARY_DIR}/viewer.html DESTINATION share/moescope)
install(FILES README.md CHANGELOG.md ${licence_file} DESTINATION share/doc/moescope)
install(DIRECTORY docs DESTINATION share/doc/moescope FILES_MATCHING PATTERN *.md PATTERN *.png)
install(FILES examples/embed.c DESTINATION share/doc/moescope/examples)
