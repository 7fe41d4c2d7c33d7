/* For tests of messages: parsing bytes that lie in a block of memory of exactly their size, so that
 * a sanitizer sees every step over the end. */
#ifndef SC_TESTS_MSG_FIXTURE_H
#define SC_TESTS_MSG_FIXTURE_H

#include <stdlib.h>

#include "common/msg.h"
#include "tests/check_main.h"

#define VALUE_MAX 1024u

static const struct sc_msg_limits limits = {.value_max = VALUE_MAX};
static struct sc_msg_request request;
static char why[SC_WHY_SIZE];
static uint8_t *message; /* what was parsed last; `request` points into it */

static inline void fixture_fini(void)
{
    free(message);
    message = NULL;
}

/* A copy in a block of exactly `size` bytes; it replaces the one before. */
static inline struct sc_slice fixture_copy(const void *bytes, size_t size)
{
    free(message);
    message = sc_alloc(size > 0 ? size : 1);
    if (size > 0) {
        memcpy(message, bytes, size);
    }
    return sc_slice(message, size);
}

static inline enum sc_status fixture_parse(const void *bytes, size_t size)
{
    memset(&request, 0xa5, sizeof request); /* what a parse leaves untouched shows */
    memset(why, 0, sizeof why);
    return sc_msg_parse_request(fixture_copy(bytes, size), &limits, &request, why);
}

static inline enum sc_status fixture_parse_buf(const struct sc_buf *buf)
{
    return fixture_parse(buf->data, buf->size);
}

/* The bytes of a literal, NULs included. */
#define PARSE(literal) fixture_parse(literal, sizeof(literal) - 1)
#define BYTES(literal)               \
    {                                \
        literal, sizeof(literal) - 1 \
    } /* in an initializer */
#define SLICE(literal) ((struct sc_slice)BYTES(literal))

#define assert_slice(slice, literal) ck_assert(sc_slice_equal((slice), SLICE(literal)))

#endif
