# Writes a file's bytes as a C++ array:
#   cmake -DINPUT=page.html -DOUTPUT=page.cpp -DNAMESPACE=moescope::report -DNAME=page_template -P EmbedFile.cmake
file(READ ${INPUT} hex HEX)
file(SIZE ${INPUT} size)
string(REGEX REPLACE "(................................)" "\\1\n" hex "${hex}")
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," hex "${hex}")
file(WRITE ${OUTPUT} "namespace ${NAMESPACE} {
extern const unsigned char ${NAME}_bytes[] = {\n${hex}\n};
extern const unsigned long ${NAME}_size = ${size};
}\n")
