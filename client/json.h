/*
 * JSON text to encoded msgpack and back.
 *
 * Whatever msgpack can say survives msgpack -> JSON -> msgpack with the same meaning, and byte for
 * byte when it was in the shortest encoding (a float 32 becomes the float 64 of the same value):
 *
 *   nil, bool, array           null, true and false, array
 *   integer                    integer, exact from -2^63 to 2^64-1
 *   float                      the shortest number that reads back the same, always with a point or
 *                              an exponent; {"$float": "nan" | "inf" | "-inf"}
 *   str                        string; {"$str": base64} when it is not UTF-8
 *   bin                        {"$bin": base64}
 *   ext                        {"$ext": [type, base64]}
 *   map                        object, members in their order, also when a key comes twice
 *                              {"$map": [[key, value]...]} when a key is no str of UTF-8, or when
 *                              the map has one member that is named like one of these five
 *
 * An object whose only member has one of these names must be what the table says; {"$bin": 1} is
 * refused rather than guessed at. An object with a second member is just an object.
 *
 * Reading is strict (RFC 8259): UTF-8 only, surrogates in pairs, no NaN or Infinity, no trailing
 * commas or comments, nothing behind the value. A number with a fraction or an exponent is a float,
 * any other an integer; both are refused when they do not fit. Nesting ends at SC_NESTING_MAX.
 * The result does not depend on the locale.
 */
#ifndef SC_CLIENT_JSON_H
#define SC_CLIENT_JSON_H

#include "common/buf.h"
#include "common/status.h"

/* Appends to `out` the msgpack of `text`, which must be one JSON value and may have white space
 * around it. SC_BADREQUEST, or SC_TOOLARGE for a text of 4 GiB, with `out` as it was and a sentence
 * that names line and column. */
enum sc_status sc_json_read(struct sc_slice text, struct sc_buf *out, char *why);

/* What a text had that cannot be read. */
enum sc_json_fault {
    SC_JSON_SYNTAX, /* it is not JSON */
    SC_JSON_INTEGER, /* an integer that does not fit into 64 bits */
    SC_JSON_NESTING, /* nested more than SC_NESTING_MAX deep */
    SC_JSON_SURROGATE, /* an escape of half a surrogate pair */
};

/* The same for what Python's json module wrote, or any program that knows nothing of our escapes:
 * an object is an object, however its one member is named, and NaN, Infinity and -Infinity are
 * floats. On failure *fault says of which kind it is. */
enum sc_status sc_json_read_python(struct sc_slice text, struct sc_buf *out,
                                   enum sc_json_fault *fault, char *why);

/* Appends to `out` the JSON of `value`, which must be one msgpack value, on one line and without a
 * NUL at its end. SC_BADREQUEST when it is not well formed, with `out` as it was. */
enum sc_status sc_json_write(struct sc_slice value, struct sc_buf *out, char *why);

/* Appends a key as JSON: a string when it is UTF-8, else {"$bin": base64}. */
void sc_json_write_key(struct sc_slice key, struct sc_buf *out);

#endif
