#include "cli/tool.hpp"

int main(int argc, char ** argv) {
    return moescope::cli::run_tool(argc, argv);
}
