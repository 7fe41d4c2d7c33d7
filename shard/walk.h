/*
 * Walk: reads a data file from one record to the next, and past what is damaged.
 *
 * Behind a place where no whole header stands, the walk tries every multiple of 8 until one does:
 * a header's checksum covers the salt of the file and the offset, so that nothing inside a value
 * passes for one. What lay between is one damaged stretch.
 *
 * A walk belongs to one thread. It only reads: through the descriptor of a segment, or from a
 * source that its user gives.
 */
#ifndef SC_SHARD_WALK_H
#define SC_SHARD_WALK_H

#include "common/buf.h"
#include "common/status.h"
#include "shard/manifest.h"
#include "shard/record.h"

#include <sys/types.h>

enum sc_walk_kind {
    SC_WALK_RECORD, /* whole; it may say that a value was lost */
    SC_WALK_BAD_VALUE, /* header and key are whole, the value is not what was written */
    SC_WALK_CUT, /* header and key are whole, the value goes on beyond the end of the file */
    SC_WALK_DAMAGE, /* a stretch without any whole header */
};

struct sc_walk_item {
    enum sc_walk_kind kind;
    uint64_t offset;
    uint64_t size; /* to the next item; of a CUT as much as the record should have */
    struct sc_record record; /* not for DAMAGE; slices are valid until the next step, and the value
                                of a CUT is not there */
};

/* Where a walk gets its bytes: as sc_io_read. */
struct sc_walk_source {
    ssize_t (*read)(void *arg, void *to, size_t size, uint64_t offset);
    void *arg;
};

/* Readable: offset (of the next item), status. */
struct sc_walk {
    int fd; /* unless there is a source */
    struct sc_walk_source source;
    uint64_t salt;
    uint64_t offset;
    uint64_t end;
    const struct sc_manifest_void *voids; /* of this file, in the order of their offsets */
    size_t void_count;
    struct sc_buf window; /* the file from window_offset on */
    uint64_t window_offset;
    enum sc_status status; /* SC_IO when a read failed, with errno in `error` */
    int error;
};

/* A walk over the bytes from `offset`, where a record starts, to `end`. `voids` is borrowed until
 * the walk is over: stretches to leave out. */
void sc_walk_init(struct sc_walk *walk, int fd, uint64_t salt, uint64_t offset, uint64_t end,
                  const struct sc_manifest_void *voids, size_t void_count);
/* The same, from a source. */
void sc_walk_init_source(struct sc_walk *walk, struct sc_walk_source source, uint64_t salt,
                         uint64_t offset, uint64_t end, const struct sc_manifest_void *voids,
                         size_t void_count);
void sc_walk_fini(struct sc_walk *walk);

/* Steps to the next item. False at the end, or when the file could not be read: see status. */
bool sc_walk_next(struct sc_walk *walk, struct sc_walk_item *item);

#endif
