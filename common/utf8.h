/*
 * UTF-8 as RFC 3629 has it: no overlong forms, no surrogates, nothing above U+10FFFF.
 */
#ifndef SC_COMMON_UTF8_H
#define SC_COMMON_UTF8_H

#include "common/buf.h"

/* True when `text` is UTF-8 from end to end. */
bool sc_utf8_valid(struct sc_slice text);

/* Appends the code point (at most U+10FFFF and no surrogate). */
void sc_utf8_put(struct sc_buf *out, uint32_t code_point);

#endif
