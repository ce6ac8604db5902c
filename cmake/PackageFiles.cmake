# Run by cpack on the files of a package before it is built: what Debian wants of documents and man pages, the libraries that an
# archive brings along, and one time for all, so that packages of the same sources are the same bytes.
cmake_policy(VERSION 3.25)
file(GLOB_RECURSE tool ${CPACK_TEMPORARY_DIRECTORY}/*/bin/moescope ${CPACK_TEMPORARY_DIRECTORY}/bin/moescope)
cmake_path(GET tool PARENT_PATH prefix)
cmake_path(GET prefix PARENT_PATH prefix)
set(docs ${prefix}/share/doc/moescope)
if(CPACK_GENERATOR STREQUAL DEB)
    file(RENAME ${docs}/licences.txt ${docs}/copyright)
    execute_process(COMMAND date --utc --rfc-email --date=@$ENV{SOURCE_DATE_EPOCH} OUTPUT_VARIABLE date OUTPUT_STRIP_TRAILING_WHITESPACE)
    file(WRITE ${docs}/changelog "moescope (${CPACK_PACKAGE_VERSION}) bookworm; urgency=medium\n\n  * What changed is in CHANGELOG.md.\n\n"
                                 " -- ${CPACK_PACKAGE_CONTACT}  ${date}\n")
    file(GLOB pages ${prefix}/share/man/man1/*.1)
    foreach(file ${pages} ${docs}/changelog)
        execute_process(COMMAND gzip --best --no-name ${file} COMMAND_ERROR_IS_FATAL ANY)
    endforeach()
else()
    execute_process(COMMAND ${CMAKE_COMMAND} -DPREFIX=${prefix} -P ${CMAKE_CURRENT_LIST_DIR}/CopyLibraries.cmake
                    COMMAND_ERROR_IS_FATAL ANY)
endif()
execute_process(COMMAND find ${CPACK_TEMPORARY_DIRECTORY} -exec touch --no-dereference --date=@$ENV{SOURCE_DATE_EPOCH} {} +
                COMMAND_ERROR_IS_FATAL ANY)
