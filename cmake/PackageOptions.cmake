# Read by cpack for each kind of package.
if(CPACK_GENERATOR STREQUAL DEB)
    set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
    set(CPACK_SET_DESTDIR OFF)
else()
    set(CPACK_COMPONENTS_ALL tool libraries)   # in this order: the second looks at what the first installed
endif()
