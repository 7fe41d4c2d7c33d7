/*
 * Warmth: what of a store's files is read through mappings (shard/mapping.h). A file is mapped when
 * something in it was read, all files together up to a multiple of the machine's memory, so that
 * the kernel's tables for them stay small.
 *
 * That a page is in memory is known from an earlier look. As long as hardly a page is evicted
 * between two looks this holds; when looks find that many were, mappings are not used until some
 * seconds have been calm. Whoever reads then asks the kernel each time.
 *
 * Single-threaded: belongs to the owner of the store.
 */
#ifndef SC_SHARD_WARMTH_H
#define SC_SHARD_WARMTH_H

#include "shard/segment.h"

struct sc_warmth {
    struct sc_segment **segments; /* kept: the store's table, with NULL where there is none */
    uint64_t mapped_max; /* bytes */
    bool full; /* so much is mapped; until the next round of looks */
    bool restless; /* pages are being evicted: mappings are not used */
    uint64_t evicted_ns; /* monotonic: when that was seen last */
    uint64_t known, gone; /* pages of this round of looks */
    size_t next; /* segment to be looked at */
};

void sc_warmth_init(struct sc_warmth *warmth, struct sc_segment **segments);

/* Reads a part of a segment if it is known to be in memory. False: read the file. */
bool sc_warmth_read(const struct sc_warmth *warmth, struct sc_segment *segment, uint64_t offset,
                    void *to, size_t size);

/* A part of a segment, which has or will have `size_max` bytes, was just read from its file.
 * `count` segments are in the table. */
void sc_warmth_note(struct sc_warmth *warmth, size_t count, struct sc_segment *segment,
                    uint64_t size_max, uint64_t offset, size_t size);

/* Looks for what has left memory, for a fraction of a millisecond; for a timer. */
void sc_warmth_look(struct sc_warmth *warmth, size_t count);

#endif
