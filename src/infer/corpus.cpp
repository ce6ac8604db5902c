#include "infer/corpus.hpp"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string_view>
#include <utility>

#include <nlohmann/json.hpp>

#include "core/error.hpp"
#include "core/random_stream.hpp"
#include "io/hash.hpp"
#include "io/json_depth.hpp"

namespace moescope::infer {

namespace {

using nlohmann::json;

// What is wrong with a line, in words.
struct bad_line : std::runtime_error {
    using std::runtime_error::runtime_error;
};

// "[json.exception.parse_error.101] parse error at line 1, column 9: syntax error …" -> "column 9: syntax error …"
std::string plain(const std::string & what) {
    const size_t at = what.find("column ");
    return at == std::string::npos ? what : what.substr(at);
}

std::string text_of(const json & value, const std::string & key) {
    if (!value.is_string()) {
        throw bad_line("'" + key + "' is " + (value.is_null() ? "null" : "a " + std::string(value.type_name())) +
                       ", not a string");
    }
    return value.get<std::string>();
}

// A message's content: a text, or OpenAI's list of parts of type "text".
std::string content_of(const json & message) {
    const auto it = message.find("content");
    if (it == message.end()) {
        throw bad_line("a message has no 'content'");
    }
    if (!it->is_array()) {
        return text_of(*it, "content");
    }
    std::string text;
    for (const json & part : *it) {
        if (!part.is_object() || part.value("type", "text") != "text" || !part.contains("text")) {
            throw bad_line("a message holds a part that is not text");
        }
        text += text_of(part["text"], "text");
    }
    return text;
}

std::vector<chat_message> messages_of(const json & list) {
    if (!list.is_array()) {
        throw bad_line("'messages' is not a list");
    }
    std::vector<chat_message> messages;
    for (const json & m : list) {
        if (!m.is_object() || !m.contains("role")) {
            throw bad_line("a message has no 'role'");
        }
        messages.push_back({text_of(m["role"], "role"), content_of(m)});
    }
    return messages;
}

std::string prompt_and_response(const json & object, const corpus_options & o) {
    std::string text = text_of(object[o.prompt_key], o.prompt_key);
    const auto  it   = object.find(o.response_key);
    if (it != object.end() && !it->is_null()) {
        text += "\n" + text_of(*it, o.response_key);
    }
    return text;
}

std::string label_of(const json & object, const std::string & key) {
    const auto it = object.find(key);
    if (it == object.end() || it->is_null()) {
        return "";
    }
    return it->is_string() ? it->get<std::string>() : it->dump();
}

sample parse_line(std::string_view line, const corpus_options & o) {
    if (line.size() > o.max_line) {
        throw bad_line("it has " + std::to_string(line.size()) + " bytes, more than --max-line " +
                       std::to_string(o.max_line));
    }
    if (io::json_depth(line) > io::deepest_json) {
        throw bad_line("arrays or objects lie more than " + std::to_string(io::deepest_json) + " deep");
    }
    json object;
    try {
        object = json::parse(line);
    } catch (const json::exception & e) {
        throw bad_line(plain(e.what()));
    }
    if (!object.is_object()) {
        throw bad_line("not a JSON object");
    }
    sample s;
    if (object.contains(o.prompt_key)) {
        s.text = prompt_and_response(object, o);
    } else if (object.contains("text")) {
        s.text = text_of(object["text"], "text");
    } else if (object.contains("messages")) {
        s.messages = messages_of(object["messages"]);
    } else {
        throw bad_line("the object has neither '" + o.prompt_key + "' nor 'text' nor 'messages'");
    }
    if (!o.label_key.empty()) {
        s.label = label_of(object, o.label_key);
    }
    return s;
}

bool is_blank(std::string_view text) {
    return text.find_first_not_of(" \t\r\n") == std::string::npos;
}

// The same order on every machine, which std::shuffle does not promise.
void shuffle(std::vector<sample> & samples, uint64_t seed) {
    random_stream random(seed);
    for (size_t i = samples.size(); i > 1; --i) {  // Fisher-Yates
        std::swap(samples[i - 1], samples[random.next() % i]);
    }
}

void add_line(corpus & c, std::string_view line, uint64_t number, const std::string & name, const corpus_options & o) {
    if (is_blank(line)) {
        return;
    }
    try {
        sample s = parse_line(line, o);
        s.line   = number;
        if (s.messages.empty() && s.text.empty()) {
            c.n_empty += 1;
        } else {
            c.samples.push_back(std::move(s));
        }
    } catch (const bad_line & e) {
        if (o.strict) {
            throw error("line " + std::to_string(number) + ": " + e.what())
                .in(name)
                .fix("without --strict it is skipped");
        }
        c.malformed.push_back({number, e.what()});
    }
}

}  // namespace

std::string read_text_file(const std::string & path) {
    struct closer {
        void operator()(std::FILE * f) const { std::fclose(f); }
    };
    const std::unique_ptr<std::FILE, closer> file(std::fopen(path.c_str(), "rb"));
    if (!file) {
        throw error(std::string("cannot open: ") + std::strerror(errno)).in(path);
    }
    std::string text;
    char        buffer[1 << 16];
    for (size_t n; (n = std::fread(buffer, 1, sizeof(buffer), file.get())) > 0;) {
        text.append(buffer, n);
    }
    if (std::ferror(file.get())) {
        throw error(std::string("cannot read: ") + std::strerror(errno)).in(path);
    }
    return text;
}

corpus parse_jsonl(const std::string & text, const std::string & name, const corpus_options & options) {
    corpus c;
    c.bytes         = text.size();
    c.hash          = io::hash_bytes(text.data(), text.size());
    size_t   begin  = text.rfind("\xef\xbb\xbf", 0) == 0 ? 3 : 0;  // a byte order mark is no JSON
    uint64_t number = 0;
    while (begin < text.size()) {
        const size_t end = std::min(text.find('\n', begin), text.size());
        add_line(c, std::string_view(text).substr(begin, end - begin), ++number, name, options);
        begin = end + 1;
    }
    if (c.samples.empty()) {
        error e("it holds no readable sample");
        if (!c.malformed.empty()) {
            e = error("it holds no readable sample: line " + std::to_string(c.malformed.front().line) + ": " +
                      c.malformed.front().what);
        }
        throw e.in(name).fix("each line must be a JSON object with '" + options.prompt_key +
                             "', 'text' or 'messages'; see --prompt-key");
    }
    if (options.shuffle) {
        shuffle(c.samples, options.shuffle_seed);
    }
    if (options.limit > 0 && c.samples.size() > options.limit) {
        c.samples.resize(options.limit);
    }
    return c;
}

corpus read_jsonl(const std::string & path, const corpus_options & options) {
    return parse_jsonl(read_text_file(path), path, options);
}

}  // namespace moescope::infer
