/*
 * LZF, the compression in Redis's files: literal runs, and copies of up to 264 bytes from at most
 * 8 KiB before.
 *
 * A control byte below 32 says that as many bytes + 1 follow as they are. Otherwise its upper three
 * bits are the length - 2 of a copy (7: the next byte is added), its lower five and the byte behind
 * the length the distance - 1. A copy may reach into what it writes itself.
 */
#ifndef SC_TOOLS_LZF_H
#define SC_TOOLS_LZF_H

#include <stdbool.h>

#include "common/buf.h"

/* The most bytes that `size` compressed ones can stand for: three for a copy of 264. */
static inline uint64_t sc_lzf_size_max(uint64_t size)
{
    return size > UINT64_MAX / 88 ? UINT64_MAX : size * 88;
}

/* Appends to `out` what `compressed` stands for, which must be exactly `size` bytes. False, with
 * `out` as it was, when it is not well formed. */
bool sc_lzf_expand(struct sc_slice compressed, size_t size, struct sc_buf *out);

#endif
