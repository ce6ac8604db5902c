# Writes a file's bytes as a C++ array: cmake -DINPUT=page.html -DOUTPUT=page.cpp -P EmbedPage.cmake
file(READ ${INPUT} hex HEX)
file(SIZE ${INPUT} size)
string(REGEX REPLACE "(................................)" "\\1\n" hex "${hex}")
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," hex "${hex}")
file(WRITE ${OUTPUT} "namespace moescope::report {
extern const unsigned char page_template_bytes[] = {\n${hex}\n};
extern const unsigned long page_template_size = ${size};
}\n")
