/*
 * Base64 as in RFC 4648, section 4: the alphabet with + and /, padded, without line breaks. JSON
 * carries bytes in it.
 */
#ifndef SC_COMMON_BASE64_H
#define SC_COMMON_BASE64_H

#include "common/buf.h"

/* Appends the text that stands for `bytes`. */
void sc_base64_encode(struct sc_buf *out, struct sc_slice bytes);

/* Appends the bytes that `text` stands for. False, with `out` as it was, for anything that
 * sc_base64_encode would not have written: other characters, missing padding, stray bits. */
bool sc_base64_decode(struct sc_buf *out, struct sc_slice text);

#endif
