#include "cli/help/man_page.hpp"

#include <algorithm>
#include <sstream>

#include <fmt/format.h>

#include "core/version.hpp"

namespace moescope::cli {

namespace {

// Text for roff: nothing in it is a request or an escape, and a hyphen is the sign that can be pasted.
std::string roff(const std::string & text) {
    std::string out;
    for (size_t i = 0; i < text.size(); ++i) {
        const char c          = text[i];
        const bool line_start = i == 0 || text[i - 1] == '\n';
        if (line_start && (c == '.' || c == '\'')) {
            out += "\\&";
        }
        out += c == '\\' ? std::string("\\e") : c == '-' ? std::string("\\-") : std::string(1, c);
    }
    return out;
}

// The same where lines are filled: a long list may break behind its commas and bars, where it has no blank.
std::string roff_filled(const std::string & line) {
    std::string out;
    for (const char c : roff(line)) {
        out += c;
        if (c == ',' || c == ';' || c == '|' || c == '/') {
            out += "\\:";
        }
    }
    return out;
}

std::string dashed(std::string name) {
    std::replace(name.begin(), name.end(), ' ', '-');
    return name;
}

std::string upper(std::string text) {
    std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::toupper(c); });
    return text;
}

// Paragraphs as they are filled; lines that begin with a blank as they stand. The first begins where the text before ended.
std::string paragraphs(const std::string & text) {
    std::istringstream in(text);
    std::string        out;
    bool               verbatim = false, blank = false;
    for (std::string line; std::getline(in, line);) {
        const bool as_is = !line.empty() && line[0] == ' ';
        if (line.empty()) {
            blank = true;
            continue;
        }
        if (as_is != verbatim) {
            out += as_is ? (blank ? ".sp\n.nf\n" : ".nf\n") : ".fi\n";
            verbatim = as_is;
        } else if (blank) {
            out += ".sp\n";
        }
        blank = false;
        out += (as_is ? roff(line) : roff_filled(line)) + "\n";
    }
    return out + (verbatim ? ".fi\n" : "");
}

std::string option_head(const option_page & o) {
    std::string head;
    for (const std::string & name : o.names) {
        head += (head.empty() ? "" : ", ") + ("\\fB" + roff(name) + "\\fR");
    }
    if (!o.argument.empty()) {
        head += (o.optional ? " [\\fI" : " \\fI") + roff(o.argument) + (o.optional ? "\\fR]" : "\\fR");
    }
    return head;
}

std::string option_text(const option_page & o) {
    std::string text = o.text;
    if (!o.choices.empty() && !o.list) {
        text += fmt::format(" (one of: {})", fmt::join(o.choices, ", "));
    }
    if (!o.default_value.empty()) {
        text += fmt::format(" (default: {})", o.default_value);
    }
    return text;
}

std::string option_list(const std::vector<option_page> & options) {
    std::string out;
    for (const option_page & o : options) {
        out += ".TP\n" + option_head(o) + "\n" + paragraphs(option_text(o));
    }
    return out;
}

std::string synopsis(const command_page & page) {
    std::string line = ".B " + roff(page.full_name()) + "\n";
    if (!page.options.empty() || !page.llama_options.empty()) {
        line += "[\\fIOPTIONS\\fR]\n";
    }
    for (const option_page & a : page.arguments) {
        line += a.names.front() == "command" ? "\\-\\- \\fIPROGRAM\\fR [\\fIARGUMENTS\\fR]\n"
                                             : "\\fI" + roff(a.names.front()) + "\\fR\n";
    }
    return line + (page.commands.empty() ? "" : page.name.empty() ? "\\fIVERB\\fR\n" : "\\fIKIND\\fR\n");
}

std::string sections(const command_page & page) {
    std::string out;
    if (!page.arguments.empty()) {
        out += ".SH ARGUMENTS\n" + option_list(page.arguments);
    }
    if (!page.options.empty()) {
        out += ".SH OPTIONS\n" + option_list(page.options);
    }
    if (!page.llama_options.empty()) {
        out += ".SH OPTIONS OF LLAMA.CPP\nThey have their usual meaning.\n" + option_list(page.llama_options);
    }
    return out;
}

std::string list_of_verbs(const command_page & root) {
    std::string out, group;
    for (const command_page & c : root.commands) {
        if (c.group != group) {
            group = c.group;
            out += ".SS " + roff(group) + "\n";
        }
        out += ".TP\n\\fBmoescope\\-" + roff(c.name) + "\\fR(1)\n" + paragraphs(c.summary);
    }
    return out;
}

// A kind of `analyze`, as a section of its page.
std::string section_of_kind(const command_page & kind) {
    std::string out = ".SS " + roff(kind.full_name()) + "\n" + paragraphs(kind.summary);
    if (!kind.notes.empty()) {
        out += ".sp\n" + paragraphs(kind.notes);
    }
    return out + ".sp\n" + synopsis(kind) + option_list(kind.arguments) + option_list(kind.options);
}

std::string list_of_examples(const command_page & page) {
    std::string out;
    for (const command_page * c : all_commands(page)) {
        for (const example & e : page.name.empty() && c != &page ? std::vector<example>() : c->examples) {
            out += ".TP\n\\fB" + roff(e.command) + "\\fR\n" + paragraphs(e.says);
        }
    }
    return out.empty() ? out : ".SH EXAMPLES\n" + out;
}

std::string see_also(const command_page & page, const command_page & root) {
    std::string out = ".SH SEE ALSO\n";
    if (!page.name.empty()) {
        return out + ".BR moescope (1)\n";
    }
    for (const command_page & c : root.commands) {
        out += ".BR moescope\\-" + roff(c.name) + " (1)" + (&c == &root.commands.back() ? "\n" : ",\n");
    }
    return out;
}

}  // namespace

std::string man_page_file(const command_page & page) {
    return dashed(page.full_name()) + ".1";
}

std::string man_page(const command_page & page, const command_page & root) {
    const std::string title = dashed(page.full_name());
    std::string       out =
        fmt::format(".TH {} 1 \"\" \"moescope {}\" \"moescope\"\n.ad l\n.nh\n", roff(upper(title)), version);
    const std::string what = page.summary.substr(0, page.summary.find('\n'));
    out += ".SH NAME\n" + roff(title) + " \\- " + roff(what) + "\n";
    out += ".SH SYNOPSIS\n" + synopsis(page);
    out += ".SH DESCRIPTION\n" + paragraphs(page.summary);
    if (!page.notes.empty()) {
        out += ".sp\n" + paragraphs(page.notes);
    }
    if (page.name.empty()) {
        out += ".SH VERBS\n" + list_of_verbs(root);
    }
    out += sections(page);
    if (!page.name.empty() && !page.commands.empty()) {
        out += ".SH KINDS\n";
        for (const command_page & kind : page.commands) {
            out += section_of_kind(kind);
        }
    }
    return out + list_of_examples(page) + see_also(page, root);
}

}  // namespace moescope::cli
