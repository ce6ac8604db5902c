#pragma once

#include <string>

namespace moescope::io {

// Where a name leads: links followed, so that what replaces the file leaves the link; the name itself where nothing is.
std::string behind_links(const std::string & path);

// Create what `name`, which ends in XXXXXX, is filled in to, with the permissions of any new file or folder.
// -1 or false with errno set where that fails.
int  make_temporary_file(std::string & name);  // open for writing
bool make_temporary_folder(std::string & name);

}  // namespace moescope::io
