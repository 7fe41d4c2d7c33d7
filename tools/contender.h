/*
 * Contenders: storage engines as shardcask-engine-bench sees them. Shardcask's own, and others that
 * were found when this was built, through their C interfaces and each with the best settings that
 * we know for small records and one writer; `settings` says which.
 *
 * Writes are gathered until commit, which hands them to the operating system: from then on they
 * survive the death of the process, and with `sync` a power failure. What fails ends the program
 * with a message: it measures working engines.
 */
#ifndef SC_TOOLS_CONTENDER_H
#define SC_TOOLS_CONTENDER_H

#include "common/buf.h"

#include <stdbool.h>
#include <stdint.h>

struct sc_contender_plan {
    uint64_t keys; /* at most */
    uint64_t record_size; /* bytes of a key and its value */
    bool sync; /* commits are going to ask for it */
};

struct sc_contender_figures {
    uint64_t files; /* data files begun; 0: not known */
    uint64_t index_bytes; /* memory of an index that has to be in memory; 0: there is none */
};

struct sc_contender {
    const char *name; /* in JSON and on the command line */
    const char *title;
    const char *settings; /* in words */
    void *(*open)(const char *dir, const struct sc_contender_plan *plan);
    /* These keys are put, deleted or (values) got next; NULL: the engine has no use for that. */
    void (*ahead)(void *store, const struct sc_slice *keys, size_t count, bool values);
    void (*put)(void *store, struct sc_slice key, struct sc_slice value);
    void (*del)(void *store, struct sc_slice key);
    void (*commit)(void *store, bool sync);
    /* Appends the value; false: there is no such key. */
    bool (*get)(void *store, struct sc_slice key, struct sc_buf *value);
    /* Does what the engine does in the background when it has time, so that reads find it done. */
    void (*settle)(void *store);
    void (*figures)(void *store, struct sc_contender_figures *figures); /* NULL: none */
    void (*close)(void *store);
};

extern const struct sc_contender sc_contender_shardcask;
extern const struct sc_contender sc_contender_rocksdb;
extern const struct sc_contender sc_contender_leveldb;
extern const struct sc_contender sc_contender_lmdb;

/* Those that were built, Shardcask first, then NULL. */
#define SC_CONTENDER_MAX 4u
extern const struct sc_contender *const sc_contender_all[];

/* Ends the program with a message unless `good`. */
void sc_contender_check(bool good, const struct sc_contender *contender, const char *why);

#endif
