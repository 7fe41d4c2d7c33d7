/*
 * The names that stand for what JSON cannot say (client/json.h has the table).
 */
#ifndef SC_CLIENT_JSON_ESCAPE_H
#define SC_CLIENT_JSON_ESCAPE_H

#include "common/buf.h"

enum sc_json_escape {
    SC_JSON_NO_ESCAPE,
    SC_JSON_BIN,
    SC_JSON_EXT,
    SC_JSON_FLOAT,
    SC_JSON_STR,
    SC_JSON_MAP,
};

/* Which escape a member's name is. */
static inline enum sc_json_escape sc_json_escape(struct sc_slice name)
{
    static const char *const names[] = {
        [SC_JSON_BIN] = "$bin", [SC_JSON_EXT] = "$ext", [SC_JSON_FLOAT] = "$float",
        [SC_JSON_STR] = "$str", [SC_JSON_MAP] = "$map",
    };
    for (enum sc_json_escape escape = SC_JSON_BIN; escape <= SC_JSON_MAP; escape++) {
        if (sc_slice_equal(name, sc_slice_str(names[escape]))) {
            return escape;
        }
    }
    return SC_JSON_NO_ESCAPE;
}

#endif
