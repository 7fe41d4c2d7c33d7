/*
 * Errands: questions to shards on behalf of one asker, who may lose interest in the answers, and
 * what the answers mean to a move.
 *
 * Guarded by the hub's lock.
 */
#ifndef SC_COORDINATOR_ERRAND_H
#define SC_COORDINATOR_ERRAND_H

#include "common/msg.h"
#include "coordinator/backend.h"

enum sc_errand_verdict {
    SC_ERRAND_GOOD,
    SC_ERRAND_AGAIN, /* not now: ask again in a while */
    SC_ERRAND_LOST, /* no answer, or the shard has forgotten what this is about: begin again */
    SC_ERRAND_OVER, /* what has been copied so far is worth nothing */
    SC_ERRAND_FATAL, /* it cannot be done */
};

struct sc_errand_answer {
    enum sc_op op;
    enum sc_errand_verdict verdict;
    struct sc_msg_reply reply; /* GOOD: its result may be read; status 0: it made no sense */
    char why[SC_WHY_SIZE]; /* not GOOD: the reason */
};

struct sc_errands;

/* answered(arg, answer) is called for each question, once: with NULL when it was asked before the
 * last sc_errands_forget. */
struct sc_errands *sc_errands_alloc(void (*answered)(void *arg, struct sc_errand_answer *answer),
                                    void *arg);

/* `answered` is not called any more. NULL is allowed. */
void sc_errands_free(struct sc_errands *errands);

/* Asks, and empties `request`. False: the shard is not up, or NULL, and nothing was asked. */
bool sc_errands_ask(struct sc_errands *errands, struct sc_backend *backend, enum sc_op op,
                    struct sc_buf *request);

/* Whatever is still answered does not matter any more. */
void sc_errands_forget(struct sc_errands *errands);

#endif
