/*
 * Frames: records on their way from one shard to another.
 *
 * A frame is any number of records as in a data file (shard/record.h), one behind the other, each
 * with its version and its absolute expiry. The header's checksum is seeded with SC_FRAME_SEED, so
 * that it says nothing about a place; that of the value is the one it was stored with.
 */
#ifndef SC_SHARD_FRAME_H
#define SC_SHARD_FRAME_H

#include "common/status.h"
#include "shard/record.h"

#define SC_FRAME_SEED UINT64_C(0x656d617266206373)
#define SC_FRAME_SIZE ((size_t)256 << 10) /* bytes; only one record alone may make it larger */

/* Appends a record. */
void sc_frame_put(struct sc_buf *frame, const struct sc_record *record);

/* Whether a record of so many bytes still belongs into the frame. */
static inline bool sc_frame_has_room(const struct sc_buf *frame, uint64_t size)
{
    return frame->size == 0 || frame->size + size <= SC_FRAME_SIZE;
}

/* Takes the next record off `frame`; its slices point into it. False: there is none, or, with
 * frame->size > 0, what stands there is no whole record. */
bool sc_frame_next(struct sc_slice *frame, struct sc_record *record);

#endif
