/*
 * The two ends of a move, played on fake shards: shard 1 owns the slot of FAKE_ENDS_KEY at first,
 * and it is to go to shard 2. What they keep is one number, that of the last put on the key, and
 * how many puts there were.
 *
 * They do harm once, as told: lose a message or its reply with the connection, answer with some
 * status, be late, or be restarted. And they watch: whoever is granted the slot must be entitled to
 * it, no write may come to who does not own it, or is sealed.
 */
#ifndef SC_TESTS_FAKE_ENDS_H
#define SC_TESTS_FAKE_ENDS_H

#include "tests/coordinator/fake_shard.h"

#define FAKE_ENDS_KEY "k3" /* shard 1's in an even layout of two */
#define FAKE_ENDS_LATE_MS 150u /* longer than requests wait */

enum fake_ends_harm {
    FAKE_ENDS_NO_HARM,
    FAKE_ENDS_STATUS, /* it is not carried out, the answer is `status` */
    FAKE_ENDS_NONSENSE, /* the reply is none */
    FAKE_ENDS_LOSE_REQUEST, /* the connection breaks before it is carried out ... */
    FAKE_ENDS_LOSE_REPLY, /* ... or after */
    FAKE_ENDS_RESTART_BEFORE, /* the same, and the shard forgets what it has not on disk */
    FAKE_ENDS_RESTART_AFTER,
    FAKE_ENDS_LATE, /* it, and all of the move behind it, is carried out late */
    FAKE_ENDS_LATE_REPLY, /* the reply is late */
};

struct fake_ends_late {
    struct sc_sp_origin origin;
    struct sc_buf body;
    bool reply; /* `body` is the reply, else the request */
    uint64_t due_ms;
};

struct fake_end {
    struct fake_shard shard; /* must be first */
    struct fake_end *other;
    bool owns; /* serves the slot: has been granted it since it was started */
    bool entitled; /* on its disk: it may be granted the slot */
    uint64_t value, count; /* on its disk */

    /* a source */
    uint64_t export_token;
    bool sealed;
    uint64_t sealed_until_ms; /* answers no reads from then on */
    char mark[8];

    /* a target */
    uint64_t import_token;
    bool importing, ready;
    uint8_t cursor[8]; /* up to where it has been written to */
    size_t cursor_size;

    /* the harm */
    enum sc_op op;
    enum fake_ends_harm harm;
    int status;
    bool new_log; /* when it is restarted its log is another one */
    bool away; /* it does not answer at all */
    bool may_refuse; /* a write that comes while it is sealed is no mistake */
    bool only_sealed; /* not before the source is sealed */
    unsigned after; /* so many of these pass first */
    unsigned harmed; /* how often harm was done */
    void (*break_link)(struct fake_end *end); /* called with the lock of the shard's hub held */

    struct fake_ends_late late[64];
    size_t late_count;
    unsigned asked[SC_OP_NONE];
    char wrong[256]; /* what must not happen, and did */
};

/* Both, with their hooks; `adopted` by the cluster already. */
void fake_ends_open(struct fake_end ends[2], const char *const urls[2], const uint8_t cluster[16]);
void fake_ends_close(struct fake_end ends[2]);

/* Answers what is due. To be called often, with no lock held. */
void fake_ends_poll(struct fake_end ends[2]);

/* With the two locked. */
void fake_ends_lock(struct fake_end ends[2]);
void fake_ends_unlock(struct fake_end ends[2]);

#endif
