# Run by cpack on the files of a package before it is built: what Debian wants of /usr/share/doc and man pages, and one time for
# all, so that packages of the same sources are the same bytes.
cmake_policy(VERSION 3.25)
set(top ${CPACK_TEMPORARY_DIRECTORY})
if(CPACK_GENERATOR STREQUAL DEB)
    file(GLOB_RECURSE docs LIST_DIRECTORIES true ${top}/*/share/doc/moescope)
    file(GLOB_RECURSE files ${top}/*/share/man/*.1 ${top}/*/doc/moescope/CHANGELOG.md)
    foreach(file ${files})
        execute_process(COMMAND gzip --best --no-name ${file} COMMAND_ERROR_IS_FATAL ANY)
    endforeach()
endif()
execute_process(COMMAND find ${top} -exec touch --no-dereference --date=@$ENV{SOURCE_DATE_EPOCH} {} + COMMAND_ERROR_IS_FATAL ANY)
