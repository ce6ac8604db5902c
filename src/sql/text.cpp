#include "sql/text.hpp"

#include <cctype>

#include <nlohmann/json.hpp>

namespace moescope::sql {

std::string valid_utf8(const std::string & text) {
    using nlohmann::json;
    return json::parse(json(text).dump(-1, ' ', false, json::error_handler_t::replace)).get<std::string>();
}

std::string quoted(const std::string & text, char quote) {
    std::string out(1, quote);
    for (const char c : text) {
        out.append(c == quote ? 2 : 1, c);
    }
    return out + quote;
}

namespace {

// Where the quoted text, comment or dollar-quoted text that begins at `at` ends; `at` where none does.
size_t end_of_literal(const std::string & s, size_t at) {
    const auto past = [&](const std::string & mark, size_t from) {
        const size_t found = s.find(mark, from);
        return found == std::string::npos ? s.size() : found + mark.size();
    };
    if (s[at] == '\'' || s[at] == '"') {
        return past(std::string(1, s[at]), at + 1);  // a doubled quote begins the next literal
    }
    if (s.compare(at, 2, "--") == 0) {
        return past("\n", at);
    }
    if (s.compare(at, 2, "/*") == 0) {
        return past("*/", at + 2);
    }
    if (s[at] == '$') {
        size_t end = at + 1;
        while (end < s.size() && (std::isalnum(static_cast<unsigned char>(s[end])) || s[end] == '_')) {
            ++end;
        }
        const bool tagged =
            end < s.size() && s[end] == '$' && !(end > at + 1 && std::isdigit(static_cast<unsigned char>(s[at + 1])));
        return tagged ? past(s.substr(at, end - at + 1), end + 1) : at;
    }
    return at;
}

bool is_blank(char c) {
    return std::isspace(static_cast<unsigned char>(c)) != 0;
}

}  // namespace

std::vector<std::string> split_statements(const std::string & script, std::string & rest) {
    std::vector<std::string> all;
    std::string              statement;
    bool                     says_something = false;
    const auto               finish         = [&] {
        if (says_something) {
            all.push_back(statement);
        }
        statement.clear();
        says_something = false;
    };
    for (size_t at = 0; at < script.size();) {
        if (script[at] == ';') {
            finish();
            ++at;
            continue;
        }
        const size_t end     = std::max(end_of_literal(script, at), at + 1);
        const bool   comment = end > at + 1 && (script[at] == '-' || script[at] == '/');
        says_something       = says_something || !(comment || is_blank(script[at]));
        statement.append(script, at, end - at);
        at = end;
    }
    rest = says_something ? statement : "";
    return all;
}

}  // namespace moescope::sql
