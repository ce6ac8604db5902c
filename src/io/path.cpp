#include "io/path.hpp"

namespace moescope::io {

std::string base_name(const std::string & path) {
    return path.substr(folder_of(path).size());
}

std::string folder_of(const std::string & path) {
    return path.substr(0, path.rfind('/') + 1);  // npos + 1 is 0
}

std::string without_suffix(const std::string & name, const std::string & suffix) {
    const bool there =
        name.size() > suffix.size() && name.compare(name.size() - suffix.size(), suffix.size(), suffix) == 0;
    return there ? name.substr(0, name.size() - suffix.size()) : name;
}

std::string with_part(const std::string & path, const std::string & part) {
    const std::string name  = base_name(path);
    const size_t      dot   = name.rfind('.');
    const bool        named = dot != std::string::npos && dot > 0;  // a hidden file's name is no extension
    const size_t      at    = named ? path.size() - name.size() + dot : path.size();
    return path.substr(0, at) + "." + part + path.substr(at);
}

}  // namespace moescope::io
