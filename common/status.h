/*
 * Status codes: the answers that every operation gives, in a process and on the wire.
 *
 * The numbers are part of the wire protocol (docs/PROTOCOL.md) and never change. Codes 1 to 7, 9
 * and 12 say that the operation was certainly not applied; 8, 10, 11 and 13 leave it open.
 */
#ifndef SC_COMMON_STATUS_H
#define SC_COMMON_STATUS_H

#include <stdbool.h>

#define SC_STATUS_LIST(X)                          \
    X(SC_OK, 0, "ok")                              \
    X(SC_NOTFOUND, 1, "not found")                 \
    X(SC_BADREQUEST, 2, "bad request")             \
    X(SC_TOOLARGE, 3, "too large")                 \
    X(SC_MISMATCH, 4, "version mismatch")          \
    X(SC_WRONGTYPE, 5, "wrong type")               \
    X(SC_MOVED, 6, "moved")                        \
    X(SC_UNAVAILABLE, 7, "shard unavailable")      \
    X(SC_UNKNOWN, 8, "timed out, outcome unknown") \
    X(SC_BUSY, 9, "busy")                          \
    X(SC_IO, 10, "storage error")                  \
    X(SC_CORRUPT, 11, "corrupt")                   \
    X(SC_DENIED, 12, "not permitted")              \
    X(SC_INTERNAL, 13, "internal error")

enum sc_status {
#define SC_STATUS_ENUM(name, number, text) name = (number),
    SC_STATUS_LIST(SC_STATUS_ENUM)
#undef SC_STATUS_ENUM
};

/* The code in words, for example "not found"; "unknown status" for a number that is none of ours.
 * The string is static. */
const char *sc_status_str(int status);

/* Room for the one sentence that explains an error to a person: what, where, what to do.
 * Functions that take `char *why` expect a buffer of this size and always end it with a NUL. */
#define SC_WHY_SIZE 320

/* Writes a sentence into `why` (SC_WHY_SIZE bytes, cut if longer; may be NULL) and returns
 * `status`, so that a check can say `return sc_fail(why, SC_TOOLARGE, "...")`. */
enum sc_status sc_fail(char *why, enum sc_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Writes a sentence into `why` likewise. */
void sc_why(char *why, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
