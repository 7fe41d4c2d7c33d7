/*
 * A store in memory for tests: what fake servers answer from. Several may share one; each operation
 * is carried out as a whole, under the store's own lock.
 */
#ifndef SC_TESTS_FAKE_STORE_H
#define SC_TESTS_FAKE_STORE_H

#include <pthread.h>

#include "common/buf.h"
#include "common/msg.h"

struct fake_entry {
    struct sc_buf key;
    struct sc_buf value;
    uint64_t version;
    uint64_t ttl_ms; /* 0: none */
};

struct fake_store {
    pthread_mutex_t lock;
    struct fake_entry *entries;
    size_t entry_count;
    uint64_t version;
    struct sc_buf log; /* the operations as they took effect: "put k\n" */
};

void fake_store_init(struct fake_store *store);
void fake_store_fini(struct fake_store *store);

/* One operation on one key; appends its reply. */
void fake_store_single(struct fake_store *store, const struct sc_msg_request *request,
                       struct sc_buf *out);

void fake_store_scan(struct fake_store *store, const struct sc_msg_scan *scan, struct sc_buf *out);

/* How many keys there are; clear removes them all. */
size_t fake_store_count(struct fake_store *store);
size_t fake_store_clear(struct fake_store *store);

#endif
