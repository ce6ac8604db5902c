// The rules of docs/architecture.md, held against the source: who may include whom, and who may print.

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "support/source_dir.hpp"

namespace {

namespace fs = std::filesystem;

using uses_table = std::map<std::string, std::set<std::string>>;

const fs::path root = moescope::test::source_dir();

std::string read(const fs::path & file) {
    std::ifstream      in(file);
    std::ostringstream text;
    text << in.rdbuf();
    return text.str();
}

std::vector<std::string> all_matches(const std::string & text, const std::regex & pattern) {
    std::vector<std::string> found;
    for (std::sregex_iterator it(text.begin(), text.end(), pattern), end; it != end; ++it) {
        found.push_back((*it)[1]);
    }
    return found;
}

// The rows "| `folder` | holds | `a`, `b` |" of the page, as they stand there.
uses_table direct_uses(const std::string & page) {
    static const std::regex row("\\| `([a-z]+)` \\|[^|\n]*\\|([^|\n]*)\\|\n"), name("`([a-z]+)`");
    uses_table              table;
    for (std::sregex_iterator it(page.begin(), page.end(), row), end; it != end; ++it) {
        const std::vector<std::string> names = all_matches((*it)[2], name);
        table[(*it)[1]]                      = {names.begin(), names.end()};
    }
    return table;
}

void add_reachable(const uses_table & direct, const std::string & folder, std::set<std::string> & all) {
    const auto row = direct.find(folder);
    if (all.insert(folder).second && row != direct.end()) {
        for (const std::string & used : row->second) {
            add_reachable(direct, used, all);
        }
    }
}

// Everything a folder may name: itself, its row, and the rows below.
uses_table allowed_uses(const std::string & page) {
    const uses_table direct = direct_uses(page);
    uses_table       all;
    for (const auto & row : direct) {
        add_reachable(direct, row.first, all[row.first]);
    }
    return all;
}

// What an include belongs to: a stage ("trace/reader.hpp"), llama.cpp's ggml, llama or common, or "" for the public API,
// the system, and packages. Our headers end in .hpp, llama.cpp's in .h.
std::string owner_of(const std::string & header) {
    const size_t slash = header.find('/');
    if (slash != std::string::npos) {
        const std::string first = header.substr(0, slash);
        return first == "moescope" ? "" : first;
    }
    if (header.rfind("ggml", 0) == 0 || header == "gguf.h") {
        return "ggml";
    }
    if (header == "llama.h" || header == "llama-cpp.h") {
        return "llama";
    }
    return header.size() > 4 && header.substr(header.size() - 4) == ".hpp" ? "a header without its stage" : "common";
}

std::set<std::string> used_by_source(const std::string & source) {
    static const std::regex ours("(?:^|\n)[ \t]*#[ \t]*include[ \t]*\"([^\"]+)\""),
        of_llama_cpp("(?:^|\n)[ \t]*#[ \t]*include[ \t]*<((?:ggml|gguf|llama)[^>]*)>");
    std::set<std::string> owners;
    for (const std::regex & include : {ours, of_llama_cpp}) {
        for (const std::string & header : all_matches(source, include)) {
            owners.insert(owner_of(header));
        }
    }
    owners.erase("");
    return owners;
}

std::set<std::string> used_by_cmake(const std::string & text) {
    static const std::regex        library("moescope_([a-z]+)(?![a-z(])");
    const std::vector<std::string> names = all_matches(text, library);
    std::set<std::string>          owners(names.begin(), names.end());
    owners.erase("library");
    return owners;
}

// The end of the comment or literal that begins at `at`, or `at` when none does.
size_t end_of_noncode(const std::string & s, size_t at) {
    const auto past = [&](const char * mark, size_t from) {
        const size_t found = s.find(mark, from);
        return found == std::string::npos ? s.size() : found + std::char_traits<char>::length(mark);
    };
    if (s.compare(at, 2, "//") == 0) {
        return past("\n", at);
    }
    if (s.compare(at, 2, "/*") == 0) {
        return past("*/", at + 2);
    }
    const bool digit_separator = s[at] == '\'' && at > 0 && std::isxdigit(static_cast<unsigned char>(s[at - 1]));
    if ((s[at] != '"' && s[at] != '\'') || digit_separator) {
        return at;
    }
    size_t end = at + 1;
    while (end < s.size() && s[end] != s[at]) {
        end += s[end] == '\\' ? 2 : 1;
    }
    return std::min(end + 1, s.size());
}

// Code alone: each comment and literal becomes "".
std::string without_comments_and_strings(const std::string & source) {
    std::string code;
    for (size_t at = 0; at < source.size();) {
        const size_t end = end_of_noncode(source, at);
        code += end > at ? "\"\"\n" : std::string(1, source[at]);
        at = std::max(end, at + 1);
    }
    return code;
}

// An identifier of the code with what stands right before and after it.
struct word {
    std::string text, before;
    char        after = 0, argument = 0;  // the next character that is no space, and the one behind it
};

std::vector<word> words_of(const std::string & code) {
    const auto        in_word  = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; };
    const auto        no_space = [&](size_t at) { return std::min(code.find_first_not_of(" \t\n", at), code.size()); };
    const auto        at_or_0  = [&](size_t at) { return at < code.size() ? code[at] : '\0'; };
    std::vector<word> words;
    for (size_t at = 0; at < code.size();) {
        size_t end = at;
        while (end < code.size() && in_word(code[end])) {
            ++end;
        }
        if (end > at) {
            const size_t next = no_space(end);
            words.push_back({code.substr(at, end - at), code.substr(at < 5 ? 0 : at - 5, std::min<size_t>(at, 5)),
                             at_or_0(next), at_or_0(no_space(next + 1))});
        }
        at = end + 1;
    }
    return words;
}

bool ends_with(const std::string & text, const std::string & end) {
    return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

// What a stage may do besides computing. speaks_in_a_host: write to stderr, and leave a forked child with _exit.
enum class manners { silent, speaks_in_a_host };

bool prints_or_exits(const word & w, manners allowed) {
    static const std::set<std::string> calls        = {"printf", "vprintf", "puts",       "putchar",
                                                       "exit",   "_Exit",   "quick_exit", "abort"};
    static const std::set<std::string> streams      = {"cout", "stdout", "STDOUT_FILENO"};
    static const std::set<std::string> host_calls   = {"perror", "_exit"};
    static const std::set<std::string> host_streams = {"cerr", "clog", "stderr", "STDERR_FILENO"};

    const bool silent = allowed == manners::silent;
    const bool member = ends_with(w.before, ".") || ends_with(w.before, "->");
    const bool call   = w.after == '(' && !member;
    const bool format = ends_with(w.before, "fmt::") && w.text.find("print") != std::string::npos && w.argument == '"';
    return format || (call && calls.count(w.text) > 0) || streams.count(w.text) > 0 ||
           (silent && ((call && host_calls.count(w.text) > 0) || host_streams.count(w.text) > 0));
}

std::vector<std::string> prints_and_exits(const std::string & source, manners allowed) {
    std::vector<std::string> found;
    for (const word & w : words_of(without_comments_and_strings(source))) {
        if (prints_or_exits(w, allowed)) {
            found.push_back(w.text);
        }
    }
    return found;
}

struct source_file {
    std::string stage, name, text;
};

std::vector<source_file> sources_of_all_stages() {
    std::vector<source_file> files;
    for (const auto & entry : fs::recursive_directory_iterator(root / "src")) {
        const std::string name = fs::relative(entry.path(), root / "src").generic_string();
        if (entry.is_regular_file()) {
            files.push_back({name.substr(0, name.find('/')), name, read(entry.path())});
        }
    }
    return files;
}

// C++ and TypeScript, by path from the root.
std::vector<source_file> all_code() {
    std::vector<source_file> files;
    for (const char * folder : {"src", "web/src"}) {
        for (const auto & entry : fs::recursive_directory_iterator(root / folder)) {
            const std::string kind = entry.path().extension().string();
            if (kind == ".cpp" || kind == ".hpp" || kind == ".ts") {
                files.push_back({folder, fs::relative(entry.path(), root).generic_string(), read(entry.path())});
            }
        }
    }
    return files;
}

std::vector<std::string> lines_of(const std::string & text) {
    std::vector<std::string> lines;
    std::istringstream       in(text);
    for (std::string line; std::getline(in, line);) {
        lines.push_back(line);
    }
    return lines;
}

// "moescope::trace" of each "namespace moescope::trace {"; without unnamed ones.
std::vector<std::string> namespaces_of(const std::string & source) {
    static const std::regex opening("(?:^|\n)namespace ([a-z_:]+) \\{");
    return all_matches(source, opening);
}

std::string without_trailing_comment(const std::string & line) {
    const std::string code = line.substr(0, line.find(" //"));
    return code.substr(0, code.find_last_not_of(' ') + 1);
}

struct block {
    size_t      lines = 0;
    std::string first_line;
};

// The longest function of a formatted file: from a line that is no type's or namespace's beginning to the closing brace
// of the same indentation. Looks at what is not indented and at what is indented once (methods).
block longest_function(const std::string & source) {
    static const std::regex no_function(
        "^\\s*(namespace|struct|class|enum|union|extern|export (abstract )?class|export interface|interface|"
        "type|export type|[#}/*]|public:|private:|protected:).*");
    const std::vector<std::string> lines = lines_of(source);
    block                          longest;
    for (const size_t indent : {0, 2, 4}) {
        const std::string space(indent, ' ');
        size_t            begin = lines.size();
        for (size_t i = 0; i < lines.size(); ++i) {
            const std::string & line = lines[i];
            if (line.size() <= indent || line.compare(0, indent, space) != 0 || line[indent] == ' ') {
                continue;
            }
            if (line[indent] == '}') {
                if (begin < i && i - begin + 1 > longest.lines) {
                    longest = {i - begin + 1, lines[begin]};
                }
                begin = lines.size();
            } else if (ends_with(without_trailing_comment(line), ";")) {
                begin = lines.size();
            } else if (begin == lines.size() || line.find('(') != std::string::npos) {
                begin = std::regex_match(line, no_function) ? lines.size() : i;
            }
        }
    }
    return longest;
}

std::set<std::string> uses_of(const source_file & file) {
    return fs::path(file.name).filename() == "CMakeLists.txt" ? used_by_cmake(file.text) : used_by_source(file.text);
}

TEST(architecture, every_folder_uses_only_what_its_row_allows) {
    const uses_table allowed = allowed_uses(read(root / "docs" / "architecture.md"));
    ASSERT_GE(allowed.size(), 16u) << "docs/architecture.md lost its table";
    for (const source_file & file : sources_of_all_stages()) {
        const auto row = allowed.find(file.stage);
        ASSERT_NE(row, allowed.end()) << "src/" << file.stage << " has no row in docs/architecture.md";
        for (const std::string & used : uses_of(file)) {
            EXPECT_EQ(row->second.count(used), 1u) << "src/" << file.name << " uses " << used;
        }
    }
}

TEST(architecture, every_name_in_a_row_is_used) {
    std::map<std::string, std::set<std::string>> used;
    for (const source_file & file : sources_of_all_stages()) {
        const std::set<std::string> names = used_by_source(file.text);
        used[file.stage].insert(names.begin(), names.end());
    }
    for (const auto & [folder, uses] : direct_uses(read(root / "docs" / "architecture.md"))) {
        for (const std::string & name : uses) {
            EXPECT_EQ(used[folder].count(name), 1u) << "no file of src/" << folder << " includes anything of " << name;
        }
    }
}

TEST(architecture, the_namespace_of_a_file_is_its_folder) {
    // hooks.hpp leaves the definition of tap_of to whoever links the hooks.
    const std::set<std::string> define_for_another_stage = {"recorder/injected/recorder.cpp"};
    for (const source_file & file : sources_of_all_stages()) {
        const std::string wanted = file.stage == "core" ? "moescope" : "moescope::" + file.stage;
        for (const std::string & name : namespaces_of(file.text)) {
            const bool below = name == wanted || name.rfind(wanted + "::", 0) == 0;
            EXPECT_TRUE(below || define_for_another_stage.count(file.name) > 0)
                << "src/" << file.name << " is in " << name;
        }
    }
}

TEST(architecture, files_and_functions_fit_in_the_head) {
    constexpr size_t most_of_a_file = 350, most_of_a_function = 80;
    for (const source_file & file : all_code()) {
        EXPECT_LE(lines_of(file.text).size(), most_of_a_file) << file.name;
        const block longest = longest_function(file.text);
        EXPECT_LE(longest.lines, most_of_a_function) << file.name << ": " << longest.first_line;
    }
}

TEST(architecture, the_table_has_no_circle) {
    const uses_table direct = direct_uses(read(root / "docs" / "architecture.md"));
    for (const auto & [folder, uses] : direct) {
        for (const std::string & used : uses) {
            std::set<std::string> below;
            add_reachable(direct, used, below);
            EXPECT_EQ(below.count(folder), 0u) << folder << " and " << used << " use each other";
        }
    }
}

TEST(architecture, only_cli_prints_and_exits) {
    for (const source_file & file : sources_of_all_stages()) {
        if (file.stage != "cli") {
            const manners allowed = file.stage == "recorder" ? manners::speaks_in_a_host : manners::silent;
            for (const std::string & found : prints_and_exits(file.text, allowed)) {
                ADD_FAILURE() << "src/" << file.name << " has " << found;
            }
        }
    }
}

// The scanners themselves: a rule whose scanner sees nothing would always pass.

TEST(architecture_scanner, finds_the_owner_of_each_include) {
    const std::string source =
        "#include <vector>\n#include \"trace/reader.hpp\"\n  # include \"ggml-backend.h\"\n"
        "#include \"llama.h\"\n#include \"arg.h\"\n#include \"local.hpp\"\n#include \"moescope/moescope.h\"\n";
    const std::set<std::string> expected = {"trace", "ggml", "llama", "common", "a header without its stage"};
    EXPECT_EQ(used_by_source("#include <ggml.h>\n#include <string>\n"), std::set<std::string>{"ggml"});
    EXPECT_EQ(used_by_source(source), expected);
}

TEST(architecture_scanner, finds_the_libraries_of_a_cmake_file) {
    const std::set<std::string> expected = {"stats", "trace"};
    EXPECT_EQ(
        used_by_cmake("moescope_library(stats DEPENDS moescope_trace fmt::fmt)\ntarget_x(moescope_stats PUBLIC a)"),
        expected);
}

TEST(architecture_scanner, follows_rows_transitively_but_not_upwards) {
    const std::string page    = "| `low` | x | – |\n| `mid` | y | `low` |\n| `high` | z, `q` | `mid`, `ggml` |\n";
    const uses_table  allowed = allowed_uses(page);
    EXPECT_EQ(allowed.at("low"), (std::set<std::string>{"low"}));
    EXPECT_EQ(allowed.at("mid"), (std::set<std::string>{"low", "mid"}));
    EXPECT_EQ(allowed.at("high"), (std::set<std::string>{"ggml", "high", "low", "mid"}));
}

TEST(architecture_scanner, finds_namespaces) {
    const std::vector<std::string> expected = {"moescope::trace", "moescope"};
    EXPECT_EQ(namespaces_of("namespace moescope::trace {\nnamespace {\n}\nnamespace moescope {\n"), expected);
}

TEST(architecture_scanner, measures_functions_and_methods_but_not_types) {
    std::string body;
    for (int i = 0; i < 10; ++i) {
        body += "        work();\n";
    }
    EXPECT_EQ(longest_function("struct a {\n    int b() {\n" + body + "    }\n    int c;\n};\n").lines, 12u);
    EXPECT_EQ(longest_function("int f(int a,\n      int b) {\n" + body + "}\n").lines, 13u);
    EXPECT_EQ(longest_function("namespace n {\n\n" + body + "}\n").lines, 0u);
    EXPECT_EQ(longest_function("class t {\n  m() {\n" + body + "  }\n}\n").lines, 12u);
}

TEST(architecture_scanner, sees_printing_in_code_but_not_in_comments_strings_or_other_names) {
    const auto count = [](const std::string & code) { return prints_and_exits(code, manners::silent).size(); };
    EXPECT_EQ(count("printf(\"x\");"), 1u);
    EXPECT_EQ(count("std::exit(1); ::_exit(2); abort ();"), 3u);
    EXPECT_EQ(count("fmt::print(\"{}\", 1);"), 1u);
    EXPECT_EQ(count("std::cout << 1; std::cerr << 2;"), 2u);
    EXPECT_EQ(count("fprintf(stderr, \"x\");"), 1u);
    EXPECT_EQ(count("// printf(x)\n/* std::cout */ const char * s = \"exit(1) \\\" stdout\";"), 0u);
    EXPECT_EQ(count("const char c = '\"'; puts(s); int n = 1'000; puts(s);"), 2u);
    EXPECT_EQ(count("snprintf(b, n, f); std::fprintf(file, f); fmt::print(file, f); on_exit(f); atexit(f);"), 0u);
    EXPECT_EQ(count("task.abort(); task->exit(1); int stdout_lines, my_exit(1);"), 0u);
}

TEST(architecture_scanner, lets_the_recorder_speak_on_stderr_and_leave_a_forked_child) {
    EXPECT_TRUE(
        prints_and_exits("dprintf(STDERR_FILENO, s); std::cerr << s; _exit(127);", manners::speaks_in_a_host).empty());
    EXPECT_EQ(prints_and_exits("fputs(s, stdout); exit(1);", manners::speaks_in_a_host).size(), 2u);
}

}  // namespace
