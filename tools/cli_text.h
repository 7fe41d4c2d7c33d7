/*
 * Keys and values as a person types them.
 *
 * A KEY is the bytes given, or {"$bin": base64} ({"$str": base64} is taken too). A VALUE is JSON
 * when it parses as JSON, else a string; raw, it is bytes (msgpack bin). What begins like one of
 * the wrappers of client/json.h, {"$bin" and so on, but is none is refused, not taken for text.
 */
#ifndef SC_TOOLS_CLI_TEXT_H
#define SC_TOOLS_CLI_TEXT_H

#include <stdbool.h>

#include "common/buf.h"

/* Replaces the content of `key` by the bytes that `word` stands for. On failure says in `why`
 * (SC_WHY_SIZE bytes) what is wrong: a key must have 1 to 65,535 bytes. */
bool sc_cli_text_key(const char *word, struct sc_buf *key, char *why);

/* Replaces the content of `value` by the encoded value that `text` stands for; `why` as above. */
bool sc_cli_text_value(struct sc_slice text, bool raw, struct sc_buf *value, char *why);

#endif
