#pragma once

#include <string>
#include <vector>

namespace moescope::sql {

// One value of a result, already as text.
struct value {
    enum class kind { null, boolean, number, text, nested } what = kind::null;
    std::string text;  // a number in the shortest form that reads back as itself, or nan, inf, -inf; nested: JSON
};

struct result_column {
    std::string name;
    std::string type;  // as DuckDB's shell names it: "int32", "float[]"
    bool        number = false;
};

// The rows of a query, computed as they are asked for.
class query_result {
public:
    virtual ~query_result() = default;

    virtual const std::vector<result_column> & columns() const = 0;
    // Fills `row` with the next one's values; false at the end. Throws error when the query fails on the way.
    virtual bool next(std::vector<value> & row) = 0;
};

}  // namespace moescope::sql
