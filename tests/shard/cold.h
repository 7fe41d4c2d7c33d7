/* A store whose page cache is empty: operations that want records fetched, and the fetching. */
#ifndef SC_TESTS_SHARD_COLD_H
#define SC_TESTS_SHARD_COLD_H

#include "shard/fetch.h"
#include "shard/io.h"

/* Reads what is wanted, as another thread would. */
static inline void cold_read(struct sc_fetch *fetch)
{
    for (size_t i = fetch->read; i < fetch->count; i++) {
        sc_fetch_read(&fetch->pieces[i]);
    }
    sc_fetch_done(fetch);
}

#endif
