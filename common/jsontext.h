/*
 * JSON text: strings and keys as they stand in a line of JSON.
 */
#ifndef SC_COMMON_JSONTEXT_H
#define SC_COMMON_JSONTEXT_H

#include "common/buf.h"

/* Appends valid UTF-8 as a string, quotes included. Control characters are escaped, those that
 * terminals obey too. */
void sc_jsontext_string(struct sc_buf *out, struct sc_slice text);

/* Appends a key: a string when it is UTF-8, else {"$bin": base64}. */
void sc_jsontext_key(struct sc_buf *out, struct sc_slice key);

#endif
