/*
 * Fetcher: threads that read what is not in memory, so that nobody else waits for the disk.
 *
 * Pieces are begun in the order in which fetches were submitted, as many at a time as there are
 * threads: a disk serves a queue of reads several times as fast as one after the other. So much
 * memory as SC_FETCHER_BYTES_MAX is given to fetches that are being read or wait to be handed over,
 * or to one that needs more; the others wait their turn.
 */
#ifndef SC_SHARD_FETCHER_H
#define SC_SHARD_FETCHER_H

#include "common/sp.h"
#include "shard/fetch.h"

struct sc_fetcher;

#define SC_FETCHER_THREADS 16
#define SC_FETCHER_BYTES_MAX ((size_t)64 << 20)

/* A fetch on its way. Embedded by whoever submits it. */
struct sc_fetcher_job {
    struct sc_fetch fetch;
    struct sc_fetcher_job *next; /* the rest is the fetcher's */
    size_t begun, left;
};

/* Starts the threads. on_fetched(arg, job) is called for each job when all its pieces have been
 * read, with the hub's lock held; several may come together. Borrows the hub until stop. Lock not
 * held. */
enum sc_status sc_fetcher_start(struct sc_sp_hub *hub,
                                void (*on_fetched)(void *arg, struct sc_fetcher_job *job),
                                void *arg, struct sc_fetcher **out, char *why);

/* Ends the threads when all that was submitted has been handed over. Lock not held. NULL is
 * allowed. */
void sc_fetcher_stop(struct sc_fetcher *fetcher);

/* Reads what the job's fetch wants, which must be something; the job stays where it is until
 * on_fetched. With or without the lock, and from on_fetched too. */
void sc_fetcher_submit(struct sc_fetcher *fetcher, struct sc_fetcher_job *job);

#endif
