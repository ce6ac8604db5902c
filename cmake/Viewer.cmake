# viewer.html: `moescope report` in a browser alone (docs/viewer.md). It is web/viewer.html, which npm builds, with the page
# inside; both are committed.
set(viewer_html ${PROJECT_BINARY_DIR}/viewer.html)
add_custom_command(OUTPUT ${viewer_html}
    COMMAND ${CMAKE_COMMAND} -DPAGE=${PROJECT_SOURCE_DIR}/web/page.html -DVIEWER=${PROJECT_SOURCE_DIR}/web/viewer.html
            -DOUTPUT=${viewer_html} -P ${PROJECT_SOURCE_DIR}/cmake/JoinViewer.cmake
    DEPENDS ${PROJECT_SOURCE_DIR}/web/page.html ${PROJECT_SOURCE_DIR}/web/viewer.html ${PROJECT_SOURCE_DIR}/cmake/JoinViewer.cmake
    COMMENT "Putting the page into the viewer" VERBATIM)
add_custom_target(viewer ALL DEPENDS ${viewer_html})
add_dependencies(moescope viewer)   # which is installed with it

# Compiles the viewer's core, the reader and the report in WebAssembly, which lies in web/viewer.html, and puts it there. Only
# after a change that the test web_viewer notices, and only this needs emscripten.
find_program(EMCMAKE emcmake)
if(EMCMAKE)
    set(core ${PROJECT_BINARY_DIR}/viewer_core)
    add_custom_target(viewer_core
        COMMAND ${EMCMAKE} ${CMAKE_COMMAND} -G Ninja -S ${PROJECT_SOURCE_DIR}/web/viewer/core -B ${core}
                -DLLAMA_CPP_DIR=${LLAMA_CPP_DIR} -DMOESCOPE_VERSION=${PROJECT_VERSION}
        COMMAND ${CMAKE_COMMAND} --build ${core}
        COMMAND node ${PROJECT_SOURCE_DIR}/web/scripts/install-viewer.mjs ${core}/core.wasm
        USES_TERMINAL VERBATIM)
endif()
