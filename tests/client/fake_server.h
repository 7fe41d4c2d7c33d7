/*
 * A server inside the test's process: a small store in memory behind the real transport, which can
 * be told to hold its answers, to answer nonsense, to have little room, and to go away. It counts
 * what arrives, so that a test can say "this write was sent once".
 */
#ifndef SC_TESTS_FAKE_SERVER_H
#define SC_TESTS_FAKE_SERVER_H

#include "common/sp.h"
#include "tests/client/fake_store.h"

struct fake_held {
    struct sc_sp_origin origin;
    struct sc_buf body;
};

struct fake_server {
    char directory[64];
    char url[128];
    struct sc_sp_hub *hub;
    struct sc_sp_listener *listener;

    /* Guarded by the hub's lock while it is up; use fake_lock. What the test sets: */
    bool hold; /* keep requests until fake_release */
    bool deaf; /* drop requests without an answer */
    size_t reply_room; /* bytes of a batch's replies; 0: no limit */
    int status; /* not 0: every message is answered with it */
    struct sc_slice canned; /* not empty: every message is answered with these bytes */
    /* Not NULL: answers a request itself and returns true, or leaves it to the store. */
    bool (*answers)(struct fake_server *fake, const struct sc_msg_request *request,
                    struct sc_buf *out);
    void *arg; /* for it */
    struct fake_store *store; /* its own, or one that others share */
    /* What the test reads: */
    size_t messages;
    size_t batches;
    size_t operations; /* on one key, inside batches too */
    size_t writes; /* those of them that write */
    size_t items_max; /* operations in the largest batch */
    size_t body_max; /* bytes of the largest message */
    uint64_t deadline_ms; /* of the last message that had one */

    struct fake_held *held;
    size_t held_count;
    struct fake_store own_store;
};

/* Starts a server with an empty store on an ipc address of its own. */
void fake_start(struct fake_server *fake);

/* Closes the server and removes its directory. */
void fake_end(struct fake_server *fake);

/* Goes away: every connection is closed, held requests are dropped, the store stays. */
void fake_stop(struct fake_server *fake);

/* Comes back on the same address. */
void fake_restart(struct fake_server *fake);

void fake_lock(struct fake_server *fake);
void fake_unlock(struct fake_server *fake);

/* Answers what was held, oldest first, and holds no more. */
void fake_release(struct fake_server *fake);

/* Waits until so many requests are held. */
void fake_await_held(struct fake_server *fake, size_t count);

/* Waits until so many messages have arrived. */
void fake_await_messages(struct fake_server *fake, size_t count);

/* One of the counts, read under the lock. */
size_t fake_count(struct fake_server *fake, const size_t *count);

#endif
