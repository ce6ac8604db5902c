# Puts the page into the viewer: cmake -DPAGE=page.html -DVIEWER=viewer.html -DOUTPUT=viewer.html -P JoinViewer.cmake
#
# The page lies in the viewer as text (web/viewer/page.ts takes it from there), so whatever would end the element around it is
# replaced. The viewer's policy allows the page's script and style by the hashes in the page's own policy.
cmake_minimum_required(VERSION 3.25)
file(READ ${PAGE} page)
file(READ ${VIEWER} viewer)
if(NOT page MATCHES "script-src ('sha256-[^']*'); style-src ('sha256-[^']*')")
    message(FATAL_ERROR "${PAGE} has no policy with hashes: build web/ again (docs/report.md)")
endif()
set(script "${CMAKE_MATCH_1}")
set(style "${CMAKE_MATCH_2}")
string(REPLACE "</script" "<~/script" page "${page}")
foreach(place "%PAGE_SCRIPT%" "%PAGE_STYLE%" "%PAGE%")
    string(FIND "${viewer}" "${place}" at)
    if(at EQUAL -1)
        message(FATAL_ERROR "${VIEWER} has no place for ${place}: build web/ again (docs/viewer.md)")
    endif()
endforeach()
string(REPLACE "%PAGE_SCRIPT%" "${script}" viewer "${viewer}")
string(REPLACE "%PAGE_STYLE%" "${style}" viewer "${viewer}")
string(REPLACE "%PAGE%" "${page}" viewer "${viewer}")
file(WRITE ${OUTPUT} "${viewer}")
