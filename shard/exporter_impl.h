/*
 * The inside of an exporter: shared by the files that make up shard/exporter.h, and by nobody else.
 *
 *   exporter.c        beginning, sealing, ending
 *   exporter_read.c   the walk through the keydir and through the log
 */
#ifndef SC_SHARD_EXPORTER_IMPL_H
#define SC_SHARD_EXPORTER_IMPL_H

#include "shard/exporter.h"

#define SC_EXPORTER_PAGE_KEYS 1024u
/* Of records in a page of keys: less than a frame may have, since clients of both shards wait while
 * one is read or written. Beside a move of 32 MiB a second p99 of gets doubled with 256 KiB, and
 * rose by 40% with 32 KiB; without a limit on the rate, larger ones move 30% faster. What is read
 * of the log comes in whole frames: there it matters that the copy is faster than the writers. */
#define SC_EXPORTER_PAGE_BYTES ((uint64_t)32 << 10)
#define SC_EXPORTER_PAGE_LOG (UINT64_C(4) << 20)

/* A place in the log; file 0: before everything. */
struct sc_exporter_place {
    uint64_t file;
    uint64_t offset;
};

struct sc_exporter {
    struct sc_bitcask *store; /* kept */
    struct sc_move_host host;
    unsigned page_keys; /* looked at for one page */
    uint64_t page_log; /* bytes of log looked at for one page */
    bool begun;
    uint64_t move;
    uint8_t slots[SC_SLOT_COUNT / 8];
    struct sc_buf mark;
    struct sc_exporter_place start; /* of the log to be read */
    bool sealed; /* and if so: */
    struct sc_exporter_seal seal;
    struct sc_exporter_place seal_end; /* the end of the log to be read */
};

static inline void sc_exporter_lock(const struct sc_exporter *exporter)
{
    exporter->host.lock(exporter->host.arg);
}

static inline void sc_exporter_unlock(const struct sc_exporter *exporter)
{
    exporter->host.unlock(exporter->host.arg);
}

/* The end of all that was appended. With the lock. */
struct sc_exporter_place sc_exporter_end_of_log(const struct sc_bitcask *store);

#endif
