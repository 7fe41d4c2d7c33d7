/*
 * Sends chunks of puts while the next chunk is being prepared: a thread of its own carries out one
 * chunk after the other, so that two puts of one key keep their order across the whole import.
 *
 * One thread prepares: it fills the chunk that sc_sender_chunk gives, hands it over with
 * sc_sender_send, which waits for the chunk before it and gives that one's results.
 */
#ifndef SC_TOOLS_SENDER_H
#define SC_TOOLS_SENDER_H

#include <pthread.h>
#include <stdbool.h>

#include "client/shardcask.h"
#include "common/buf.h"

#define SC_SENDER_PUTS 1024u /* in a chunk at most */
#define SC_SENDER_BYTES ((size_t)4 << 20) /* a chunk with so many is full */

/* Some puts and, once they were carried out, their results (the out members of `ops`). */
struct sc_sender_chunk {
    struct shardcask_op ops[SC_SENDER_PUTS];
    /* The caller's own: where each came from. */
    uint64_t numbers[SC_SENDER_PUTS];
    const char *files[SC_SENDER_PUTS];
    size_t count;
    int status; /* of the message as a whole: OK when each put has its own */
    char why[SHARDCASK_WHY_SIZE];

    /* Private: the keys' and values' bytes, and where each begins; pointers are set in the end. */
    struct sc_buf bytes;
    size_t offsets[SC_SENDER_PUTS];
};

struct sc_sender {
    /* Constant while the thread runs. */
    struct shardcask *db;
    pthread_t thread;

    /* Of the preparing thread. */
    struct sc_sender_chunk *chunks; /* two, in turns */
    size_t filling;

    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* Guarded by the lock. */
    struct sc_sender_chunk *work; /* what the thread shall carry out, until it has done so */
    bool stop;
};

/* Starts the thread. False when that fails; then nothing is to be stopped. */
bool sc_sender_start(struct sc_sender *sender, struct shardcask *db);

/* The chunk to be filled. */
struct sc_sender_chunk *sc_sender_chunk(struct sc_sender *sender);

/* Adds a put; copies key and value, keeps `file` (may be NULL). There must be room
 * (sc_sender_full). */
void sc_sender_add(struct sc_sender_chunk *chunk, struct sc_slice key, struct sc_slice value,
                   const struct shardcask_write *options, uint64_t number, const char *file);
bool sc_sender_full(const struct sc_sender_chunk *chunk);

/* Hands the filled chunk over and returns the one before it, carried out, or NULL when there is
 * none. That one is the next to be filled: read its results, then empty it. */
struct sc_sender_chunk *sc_sender_send(struct sc_sender *sender);

/* Frees the results in a chunk and makes room in it. */
void sc_sender_empty(struct sc_sender_chunk *chunk);

/* Waits for the chunk under way and returns it, or NULL. */
struct sc_sender_chunk *sc_sender_wait(struct sc_sender *sender);

/* Waits for the thread and frees everything. */
void sc_sender_stop(struct sc_sender *sender);

#endif
