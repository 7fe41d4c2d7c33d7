/*
 * Hints: what a data file holds, without the values, so that a store opens fast.
 *
 *   offset size   NNNNNNNNNN.hint
 *        0    8   "SCASKHNT"
 *        8    4   format version, 1
 *       12    4   0
 *       16    8   number of the data file
 *       24    8   its salt
 *       32    8   its size up to which the hint tells all
 *       40    8   count of entries
 *       48    8   of these, tombstones and clears
 *       56    8   smallest version in the file; all ones when there is no entry
 *       64    8   largest version; 0 when there is no entry
 *       72    8   size of the hint file
 *       80    8   XXH3_64bits (seed 0) of the 80 bytes before
 *       88        blocks up to the end of the file, each:
 *        0    4     bytes of its entries
 *        4    4     count of its entries
 *        8    8     XXH3_64bits of its entries, seeded with the salt XOR the block's offset
 *       16          entries, each:
 *        0    8       version
 *        8    8       expiry
 *       16    4       offset of the record, divided by 8
 *       20    4       size of the value
 *       24    2       size of the key
 *       26    1       kind (shard/record.h)
 *       27    1       0
 *       28            key
 *
 * Integers are little-endian. One entry for each record, in the order of the data file, of those
 * with a damaged value too: reading finds that out. A data file in which a stretch without any
 * whole header was found gets no hint, since that would keep the loss from being told.
 *
 * Nothing of a hint is used before its checksum was verified. A hint that covers only the beginning
 * of its file, as one does that was written at a clean close before the file grew, serves for that
 * beginning. Hints are written to a temporary file, synced and renamed.
 */
#ifndef SC_SHARD_HINT_H
#define SC_SHARD_HINT_H

#include "common/status.h"
#include "shard/files.h"
#include "shard/manifest.h"
#include "shard/record.h"

/* A record as a hint tells it; the value is not there but has its size. */
struct sc_hint_entry {
    struct sc_record record;
    uint64_t offset;
    uint64_t size; /* of the whole record */
};

typedef void sc_hint_visit_fn(void *arg, const struct sc_hint_entry *entry);

/* Reads the hint of a data file of `size` bytes and calls `visit` for each entry; stores up to
 * which size of the data file it tells all. SC_NOTFOUND: there is none. SC_CORRUPT: it is damaged,
 * or of another file, or the disk cannot bring it (`why` says); entries visited until then were
 * true. SC_IO: another trouble of the system. */
enum sc_status sc_hint_load(const struct sc_files *files, uint64_t number, uint64_t salt,
                            uint64_t size, sc_hint_visit_fn *visit, void *arg, uint64_t *covered,
                            char *why);

/* Whether the hint tells of every record that was between two places of the data file, the first of
 * which is where one should begin. */
bool sc_hint_tells(const struct sc_files *files, uint64_t number, uint64_t salt, uint64_t size,
                   uint64_t from, uint64_t to);

/* Reads a data file, which must not change meanwhile, syncs it and writes its hint. Any thread.
 * SC_CORRUPT: damage forbids it. SC_IO. */
enum sc_status sc_hint_build(const struct sc_files *files, uint64_t number, uint64_t salt,
                             const struct sc_manifest_void *voids, size_t void_count, char *why);

#endif
